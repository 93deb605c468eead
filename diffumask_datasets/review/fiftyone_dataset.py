"""A dataset in FiftyOne: samples keyed by ``sample_id``, masks and heat maps as files on disk, verdicts as tags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.decisions import ACCEPTED, REJECTED, SHOWN, Decision
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, encoded_bytes, objects_of
from diffumask_datasets.dataset.storage import dataset_location, name_of
from diffumask_datasets.errors import DiffuMaskError, ExportError, ReviewError
from diffumask_datasets.masks.quality import covered_share
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.review.database import load_fiftyone
from diffumask_datasets.review.features import embeddings_of, nearest, raw_disagreement
from diffumask_datasets.review.layout import arrange
from diffumask_datasets.sample import id2label

__all__ = ["dataset_name", "decisions_of", "to_fiftyone"]

FIELDS = {
    "sample_id": "StringField",
    "split": "StringField",
    "prompt": "StringField",
    "model": "StringField",
    "reason": "StringField",
    "nearest": "StringField",
    "seed": "IntField",
    "quality": "FloatField",
    "mask_share": "FloatField",
    "raw_disagreement": "FloatField",
    "nearest_distance": "FloatField",
}
LISTS = {"classes": "StringField", "threshold": "FloatField"}

NUDGE = 1e-7
"""Pixels. FiftyOne truncates relative boxes to pixels, and 9 / 48 · 48 can be 8.999…: the mask would be shifted."""

BRAIN_KEYS = ("similarity", "embedding")


def dataset_name(source: Any) -> str:
    """The name a source has in FiftyOne where none is given."""
    return f"diffumask-{name_of(dataset_location(source))}" if isinstance(source, str | Path) else "diffumask"


def to_fiftyone(
    source: Any,
    name: str | None = None,
    *,
    media: str | Path | None = None,
    embeddings: bool = True,
    checkpoint: str | Path | None = None,
) -> Any:
    """Makes a persistent FiftyOne dataset. One of that name that is there is built anew and keeps its verdicts, reasons and
    tags.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, a ``Dataset`` or a dict of splits; verdicts of its
            ``decisions.jsonl`` are taken over.
        name: The name in FiftyOne; default: ``diffumask-`` and the name of ``source``.
        media: The folder for images, masks and heat maps; default: FiftyOne's own.
        embeddings: Add similarity, uniqueness and an embedding view. Nothing is downloaded.
        checkpoint: The folder of a transformers model that embeds the images; default: the diffusion model.

    Returns:
        The ``fiftyone.Dataset``.

    Raises:
        MissingDependencyError: FiftyOne is not installed, or finds no database.
        ExportError: No dataset, not one with the columns of ``default``, or ``media`` cannot be written.
        ReviewError: A FiftyOne dataset of that name is not ours, or holds verdicts for samples that are not in this one.
    """
    opened = open_dataset(source)
    fo = load_fiftyone()
    name = name or dataset_name(source)
    written, given = opened.decisions or {}, decisions_of(name) if fo.dataset_exists(name) else {}
    decisions = {**written, **given}
    folder = Path(media) if media else Path(fo.config.default_dataset_dir) / "diffumask" / name
    draft = f"{name}.unfinished"
    if fo.dataset_exists(draft):
        fo.delete_dataset(draft)
    dataset = fo.Dataset(draft)
    _declare(fo, dataset, opened)
    try:
        images = _add_samples(fo, dataset, opened, folder, decisions, keep_images=embeddings)
    except OSError as error:
        dataset.delete()
        if isinstance(error, DiffuMaskError):  # the rows could not be read
            raise
        raise ExportError(f"cannot write the media to {folder}: {error.strerror or error}") from error
    _check_none_lost(dataset, name, given.keys() - written.keys())
    _add_neighbours(fo, dataset, opened, images, checkpoint)
    arrange(fo, dataset, opened.classes)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    dataset.name = name
    # Last, so that a build that was cut short is gone with its session.
    dataset.persistent = True
    return dataset


def decisions_of(name: str) -> dict[str, Decision]:
    """The verdicts given in FiftyOne: tags ``accepted`` and ``rejected``, the field ``reason``, the reviewer's other tags.

    Raises:
        ReviewError: no such dataset, not one of ours, or a sample that is both accepted and rejected.
    """
    fo = load_fiftyone()
    if not fo.dataset_exists(name):
        raise ReviewError(f"FiftyOne has no dataset {name!r}: review it first, or give --decisions FILE")
    dataset = fo.load_dataset(name)
    if not dataset.has_sample_field("sample_id"):
        raise ReviewError(f"the FiftyOne dataset {name!r} has no sample_id: it was not made by diffumask review")
    found = {}
    for sample_id, tags, reason in zip(*dataset.values(["sample_id", "tags", "reason"]), strict=True):
        verdicts = [tag for tag in (tags or ()) if tag in (ACCEPTED, REJECTED)]
        if len(set(verdicts)) > 1:
            raise ReviewError(f"{sample_id} is both accepted and rejected in {name!r}: remove one of the tags")
        if verdicts:
            own = tuple(tag for tag in tags if tag not in verdicts)
            found[sample_id] = Decision(sample_id, verdicts[0], reason or "", own)
    return found


def _check_none_lost(dataset: Any, name: str, decided: set[str]) -> None:
    # Folders of one name are common, and so are recipes that changed: neither may cost a reviewer's work.
    lost = sorted(decided - set(dataset.values("sample_id")))
    if lost:
        dataset.delete()
        raise ReviewError(
            f"FiftyOne's dataset {name!r} holds {len(lost)} verdicts for samples that are not in this one "
            f"({', '.join(lost[:SHOWN])}…): give this one another --name, or delete the old one with "
            f"fiftyone datasets delete {name}"
        )


def _declare(fo: Any, dataset: Any, opened: OpenDataset) -> None:
    # Declared once, so that FiftyOne need not look for new fields in every sample.
    for field, kind in FIELDS.items():
        dataset.add_sample_field(field, getattr(fo, kind))
    for field, kind in LISTS.items():
        dataset.add_sample_field(field, fo.ListField, subfield=getattr(fo, kind))
    dataset.add_sample_field("semantic", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    dataset.add_sample_field("instances", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.create_index("sample_id", unique=True)
    targets = {**id2label(opened.classes), 255: "unsure"}
    dataset.mask_targets = {"semantic": targets}
    dataset.default_classes = list(opened.classes)
    dataset.info = {"classes": list(opened.classes), "recipe": dict(opened.recipe_fields or {})}


def _add_samples(
    fo: Any,
    dataset: Any,
    opened: OpenDataset,
    folder: Path,
    decisions: dict[str, Decision],
    *,
    keep_images: bool,
) -> list[Any]:
    images: list[Any] = []
    for place in ("images", "masks", "heat_maps"):
        # Written over, never emptied: the folder may be the user's, and an older import may still point there.
        (folder / place).mkdir(parents=True, exist_ok=True)

    def samples() -> Iterator[Any]:
        for split, checked in opened.checked():
            if keep_images:
                images.append(checked.pixels)
            yield _sample(fo, split, checked, opened, folder, decisions.get(checked.sample_id))

    dynamic = opened.heat_maps
    dataset.add_samples(samples(), expand_schema=dynamic, num_samples=opened.total)
    return images


def _sample(
    fo: Any, split: str, checked: CheckedRow, opened: OpenDataset, folder: Path, decision: Decision | None
) -> Any:
    sample_id, row, label = checked.sample_id, checked.row, checked.label
    image, mask = folder / "images" / f"{sample_id}.png", folder / "masks" / f"{sample_id}.png"
    image.write_bytes(encoded_bytes(row["image"]))
    mask.write_bytes(encoded_bytes(row["label"]))
    height, width = label.shape
    return fo.Sample(
        filepath=str(image),
        tags=[decision.verdict, *decision.tags] if decision else [],
        metadata=fo.ImageMetadata(width=width, height=height, num_channels=3),
        sample_id=sample_id,
        split=split,
        semantic=fo.Segmentation(mask_path=str(mask)),
        instances=fo.Detections(detections=_detections(fo, row, opened, height, width)),
        classes=[opened.classes[class_id - 1] for class_id in row["classes"]],
        prompt=row["prompt"],
        seed=row["seed"],
        model=row["model"],
        threshold=row["threshold"],
        quality=row["quality"],
        mask_share=covered_share(label),
        raw_disagreement=raw_disagreement(
            row, label, normalization=(opened.recipe_fields or {}).get("heat_normalization", "local")
        ),
        reason=decision.reason if decision else None,
        **_heat_maps(fo, row, opened, folder),
    )


def _detections(fo: Any, row: Row, opened: OpenDataset, height: int, width: int) -> list[Any]:
    detections = []
    for found in objects_of(row):
        x, y, box_width, box_height = found.bbox_xywh
        left, top = int(x), int(y)
        # FiftyOne wants the mask inside the box, and the box relative to the image.
        inside = decode(found.segmentation, (height, width))[top : top + int(box_height), left : left + int(box_width)]
        detections.append(
            fo.Detection(
                label=opened.classes[found.category - 1],
                bounding_box=[(x + NUDGE) / width, (y + NUDGE) / height, box_width / width, box_height / height],
                mask=np.ascontiguousarray(inside),
                confidence=found.score,
                index=found.instance_id,
            )
        )
    return detections


def _heat_maps(fo: Any, row: Row, opened: OpenDataset, folder: Path) -> dict[str, Any]:
    """One field a class of the prompt, in its order: heat_map_1, heat_map_2 …, each with its class as ``label``."""
    heat = row.get(HEAT_MAPS)
    fields = {}
    for number, (class_id, cell) in enumerate(zip(heat["category"], heat["map"], strict=True) if heat else (), 1):
        path = folder / "heat_maps" / f"{row['sample_id']}-{number}.png"
        path.write_bytes(encoded_bytes(cell))
        fields[f"heat_map_{number}"] = fo.Heatmap(
            map_path=str(path), range=[0, 255], label=opened.classes[class_id - 1]
        )
    return fields


def _add_neighbours(
    fo: Any, dataset: Any, opened: OpenDataset, images: list[Any], checkpoint: str | Path | None
) -> None:
    # PCA to two dimensions and a nearest neighbour need a few samples to mean anything.
    if len(images) < 3:
        return
    import fiftyone.brain as fob

    fields = dict(opened.recipe_fields or {})
    model = fields.get("model") or dataset.first()["model"]
    if len({image.shape for image in images}) > 1:
        model = "planted"  # sizes differ: coarse colours do not mind
    vectors = embeddings_of(images, model=model, revision=fields.get("revision"), checkpoint=checkpoint)
    ids = dataset.values("sample_id")
    neighbours, distances = nearest(vectors)
    dataset.set_values("nearest", [ids[neighbour] for neighbour in neighbours])
    dataset.set_values("nearest_distance", distances.tolist())
    fob.compute_similarity(dataset, embeddings=vectors, brain_key=BRAIN_KEYS[0], backend="sklearn")
    fob.compute_uniqueness(dataset, embeddings=vectors)
    fob.compute_visualization(dataset, embeddings=vectors, brain_key=BRAIN_KEYS[1], method="pca", num_dims=2)
