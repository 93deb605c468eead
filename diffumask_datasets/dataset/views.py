"""The configs beside ``default``: the same samples in the columns that other trainers read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.dataset.schema import (
    Row,
    features_of,
    label_of,
    png_cell,
    without_heat_maps,
    without_threshold_curve,
)
from diffumask_datasets.errors import DiffuMaskError, ExportError, ShapeError, suggestion
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.recipes.yaml_reader import parse_yaml
from diffumask_datasets.sample import BACKGROUND_NAME, IGNORE

__all__ = [
    "CONFIG_FOLDERS",
    "SEMANTIC",
    "VIEWS",
    "card_configs",
    "card_metadata",
    "check_shown",
    "config_name",
    "shown_view",
    "view_features",
    "view_row",
]

_METADATA = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---", re.DOTALL)
"""The metadata at the head of a dataset card."""

MAX_ANNOTATED = 255
"""Instance ids that the green channel of ``annotation`` can hold."""

VIEWS = ("default", "instance", "detection", "panoptic")

CONFIG_FOLDERS = {"default": "data", "instance": "instance", "detection": "detection"}
"""View → folder of its parquet files, for the views that are written to disk."""

SEMANTIC = "semantic"
"""Config of the view ``default`` where another view is loaded by default."""


def check_shown(view: str) -> None:
    """Raises ExportError unless a dataset on disk can have this view as its default."""
    if view not in CONFIG_FOLDERS:
        legal = ", ".join(CONFIG_FOLDERS)
        raise ExportError(f"view: expected one of {legal}, got {view!r}{suggestion(view, CONFIG_FOLDERS)}")


def config_name(view: str, *, shown: str) -> str:
    """The config of a view where ``shown`` is loaded by default; datasets takes the name ``default`` for a default too."""
    return SEMANTIC if view == "default" != shown else view


def card_configs(views: Iterable[str], *, shown: str, splits: Iterable[str]) -> list[dict[str, Any]]:
    """Describes the configs of a dataset card.

    Args:
        views: The views that are written.
        shown: The one that ``load_dataset`` takes without a name.
        splits: The splits that have rows.

    Returns:
        The ``configs`` of the card's metadata.
    """
    return [
        {
            "config_name": config_name(view, shown=shown),
            "data_files": [{"split": split, "path": f"{CONFIG_FOLDERS[view]}/{split}-*"} for split in splits],
            **({"default": True} if view == shown else {}),
        }
        for view in views
    ]


def card_metadata(card: str, *, where: str, error: type[DiffuMaskError]) -> dict[str, Any]:
    """Reads the metadata of a dataset card within bounds.

    Args:
        card: The text of the card.
        where: What messages call it.
        error: The class of the error to raise.

    Returns:
        Name → value; empty where the card has no metadata.

    Raises:
        error: They are not plain YAML.
    """
    found = _METADATA.match(card)
    metadata = parse_yaml(found[1], where=where, error=error) if found else None
    return metadata if isinstance(metadata, dict) else {}


def shown_view(metadata: Mapping[str, Any]) -> str:
    """The view that ``load_dataset`` takes without a name, by the metadata of a card that :func:`card_configs` wrote."""
    configs = metadata.get("configs")
    listed = [config for config in configs if isinstance(config, Mapping)] if isinstance(configs, list) else []
    shown = [config.get("config_name") for config in listed if config.get("default") is True]
    return next((view for view in CONFIG_FOLDERS if view in shown), "default")


def view_features(
    view: str, *, classes: Sequence[str], heat_maps: bool = False, threshold_curve: bool = False
) -> datasets.Features:
    """Gives the features of a view.

    Args:
        view: One of :data:`VIEWS`.
        classes: The class names.
        heat_maps: Whether there is the column ``heat_maps``.
        threshold_curve: Whether there is the column ``threshold_curve``.

    Returns:
        The features.
    """
    category = datasets.ClassLabel(names=[BACKGROUND_NAME, *classes])
    if view == "instance":
        return _instance_features(classes)
    if view == "detection":
        return _detection_features(category)
    if view == "panoptic":
        return _panoptic_features(category)
    return features_of(classes, heat_maps=heat_maps, threshold_curve=threshold_curve)


def view_row(
    row: Row,
    view: str,
    *,
    classes: Sequence[str],
    label: Pixels | None = None,
    heat_maps: bool = False,
    threshold_curve: bool = False,
) -> Row:
    """Gives the row of a view.

    Args:
        row: The ``default`` row.
        view: One of :data:`VIEWS`.
        classes: The class names.
        label: The mask of the row, where it is decoded already.
        heat_maps: Whether there is the column ``heat_maps``.
        threshold_curve: Whether there is the column ``threshold_curve``.

    Returns:
        The row.
    """
    made = _MADE.get(view)
    if made is not None:
        return made(row, classes, label_of(row) if label is None else label)
    row = row if heat_maps else without_heat_maps(row)
    return row if threshold_curve else without_threshold_curve(row)


def _instance_features(classes: Sequence[str]) -> datasets.Features:
    return datasets.Features(
        {
            "sample_id": datasets.Value("string"),
            "image": datasets.Image(),
            "annotation": datasets.Image(),
            "semantic_class_to_id": {name: datasets.Value("int32") for name in [BACKGROUND_NAME, *classes]},
        }
    )


def _instance_view(row: Row, classes: Sequence[str], label: Pixels) -> Row:
    annotation = np.zeros((*label.shape, 3), dtype=np.uint8)
    # The Mask2Former example makes an instance of every pair found, so unsure pixels are background here, not 255.
    annotation[..., 0] = np.where(label == IGNORE, 0, label)
    for instance_id, mask in _instance_masks(row, label.shape):
        if instance_id > MAX_ANNOTATED:
            raise ShapeError(
                f"{row['sample_id']}: instance {instance_id}, but the config instance holds {MAX_ANNOTATED} in one image "
                "(8 bits); take the config panoptic, a smaller grid of splicing or a larger min_area"
            )
        annotation[mask, 1] = instance_id
    return {
        "sample_id": row["sample_id"],
        "image": row["image"],
        "annotation": png_cell(annotation),
        "semantic_class_to_id": {name: number for number, name in enumerate([BACKGROUND_NAME, *classes])},
    }


def _detection_features(category: datasets.ClassLabel) -> datasets.Features:
    return datasets.Features(
        {
            "image_id": datasets.Value("int64"),
            "image": datasets.Image(),
            "width": datasets.Value("int32"),
            "height": datasets.Value("int32"),
            "objects": {
                "id": [datasets.Value("int64")],
                "area": [datasets.Value("int64")],
                "bbox": [[datasets.Value("float32")]],
                "category": [category],
            },
        }
    )


def _detection_view(row: Row, classes: Sequence[str], label: Pixels) -> Row:
    height, width = label.shape
    objects = row["objects"]
    return {
        "image_id": _image_id(row["sample_id"]),
        "image": row["image"],
        "width": width,
        "height": height,
        "objects": {name: objects[name] for name in ("id", "area", "bbox", "category")},
    }


def _image_id(sample_id: str) -> int:
    number = sample_id.rpartition("-")[2]
    if not (number.isascii() and number.isdecimal() and int(number) < 2**63):
        raise ShapeError(
            f"{sample_id}: no number at its end, which the config detection needs as image_id; expected ids like made-0007"
        )
    return int(number)


def _panoptic_features(category: datasets.ClassLabel) -> datasets.Features:
    return datasets.Features(
        {
            "sample_id": datasets.Value("string"),
            "image": datasets.Image(),
            "panoptic": datasets.Image(),
            "segments_info": {
                "id": [datasets.Value("int32")],
                "category_id": [category],
                "isthing": [datasets.Value("bool")],
                "area": [datasets.Value("int64")],
                "bbox": [[datasets.Value("float32")]],
                "iscrowd": [datasets.Value("bool")],
            },
        }
    )


def _panoptic_view(row: Row, classes: Sequence[str], label: Pixels) -> Row:
    objects = row["objects"]
    segments = np.zeros(label.shape, dtype=np.uint32)
    for instance_id, mask in _instance_masks(row, segments.shape):
        segments[mask] = instance_id
    # COCO panoptic: id = R + 256 G + 65536 B, 0 is void.
    coloured = np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=-1).astype(np.uint8)
    count = len(objects["id"])
    return {
        "sample_id": row["sample_id"],
        "image": row["image"],
        "panoptic": png_cell(coloured),
        "segments_info": {
            "id": objects["id"],
            "category_id": objects["category"],
            "isthing": [True] * count,
            "area": objects["area"],
            "bbox": objects["bbox"],
            "iscrowd": [False] * count,
        },
    }


def _instance_masks(row: Row, shape: tuple[int, ...]) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    objects = row["objects"]
    return [(number, decode(rle, shape)) for number, rle in zip(objects["id"], objects["segmentation"], strict=True)]


_MADE = {"instance": _instance_view, "detection": _detection_view, "panoptic": _panoptic_view}
