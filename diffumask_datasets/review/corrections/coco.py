"""Edits in COCO's instance JSON, as CVAT, Label Studio, Roboflow and others write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from diffumask_datasets.dataset.values import finite
from diffumask_datasets.errors import DataError, ReviewError, ShapeError
from diffumask_datasets.masks import rle
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.review.corrections.edit import Edit, Edits, Mask, Shape, check_shape, class_id_of, sample_id_of

__all__ = ["read_coco"]

MOST_BYTES = 2**30
"""Of one annotation file, which is held in memory."""

_LISTS = ("images", "annotations", "categories")


def read_coco(folder: Path, classes: Sequence[str]) -> Edits:
    """Reads ``instances*.json`` below the folder, or the only JSON file there.

    Raises:
        ReviewError: There is no such file, it is not COCO, or an image comes twice.
    """
    samples: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path in _annotation_files(folder):
        document = _document(path)
        names = {category["id"]: category["name"] for category in document["categories"]}
        annotations = _by_image(document)
        for image in document["images"]:
            sample_id = sample_id_of(image["file_name"], where=str(path))
            if sample_id in samples:
                raise ReviewError(f"{path}: the image {sample_id} comes twice; remove one")
            samples[sample_id] = partial(
                _edit,
                path=path,
                image=image,
                annotations=annotations.get(image["id"], []),
                names=names,
                classes=classes,
            )
            origins[sample_id] = _origin(document.get("info"), image)
    return Edits(samples, origins)


def _annotation_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.json"))
    instances = [path for path in files if path.name.startswith("instances")]
    if not instances and len(files) != 1:
        raise ReviewError(f"{folder}: expected annotations/instances_….json, got {len(files)} other JSON files")
    return instances or files


def _document(path: Path) -> dict[str, Any]:
    document = read_json(path, what="the annotations", error=ReviewError, most_bytes=MOST_BYTES)
    lists = [document.get(name) for name in _LISTS] if isinstance(document, dict) else []
    needed = (("id", "file_name", "height", "width"), ("image_id", "category_id"), ("id", "name"))
    for name, items, keys in zip(_LISTS, lists or [None] * len(_LISTS), needed, strict=True):
        if not isinstance(items, list) or not all(isinstance(item, dict) and _has(item, keys) for item in items):
            raise ReviewError(f"{path}: expected COCO's list {name!r}, whose items have {', '.join(keys)}")
    return dict(document)


def _has(item: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(isinstance(item.get(key), int | str) for key in keys)


def _by_image(document: Mapping[str, Any]) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _origin(info: object, image: Mapping[str, Any]) -> str:
    """Who and when, of what COCO has a place for."""
    described = info if isinstance(info, Mapping) else {}
    dates = (image.get("date_captured"), described.get("date_created"))
    date = next((str(value) for value in dates if value and value != 0), "")
    return ", ".join(part for part in (str(described.get("contributor") or ""), date) if part)


def _edit(
    shape: Shape,
    *,
    path: Path,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[Any, Any],
    classes: Sequence[str],
) -> Edit:
    where = f"{path}, image {image['file_name']}"
    check_shape((image["height"], image["width"]), shape, where=where)
    objects = []
    for annotation in annotations:
        place = f"{where}, annotation {annotation.get('id', '?')}"
        if annotation["category_id"] not in names:
            raise ReviewError(f"{place}: there is no category {annotation['category_id']}")
        category = class_id_of(names[annotation["category_id"]], classes, where=place)
        objects.append((category, _mask(annotation.get("segmentation"), shape, where=place)))
    return Edit(objects)


def _mask(segmentation: object, shape: Shape, *, where: str) -> Mask:
    try:
        if isinstance(segmentation, list):
            mask = rasterized(list(_polygons(segmentation)), shape)
        else:
            mask = rle.decode(segmentation, shape)
    except (DataError, ShapeError) as error:
        raise ReviewError(f"{where}: {error}") from error
    if not mask.any():
        raise ReviewError(f"{where} has no pixels: draw its mask, or delete it")
    return mask


def _polygons(segmentation: Sequence[object]) -> Iterator[list[float]]:
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise DataError("expected polygons [x, y, x, y, …] of three points or more")
        yield [finite(number, "a coordinate") for number in polygon]


def rasterized(polygons: Sequence[Sequence[float]], shape: Shape) -> Mask:
    if not polygons:
        return np.zeros(shape, dtype=bool)
    height, width = shape
    # pycocotools takes memory for every pixel that a border passes, inside the image or not.
    inside = [np.clip(np.reshape(polygon, (-1, 2)), 0, (width, height)).ravel().tolist() for polygon in polygons]
    return rle.decode(coco_mask.merge(coco_mask.frPyObjects(inside, height, width)), shape)
