"""Labels that were edited in FiftyOne, by its App or by an annotation backend: what differs from the dataset is an edit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.schema import Row, label_of
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.review.corrections.coco import rasterized
from diffumask_datasets.review.corrections.edit import Edit, Mask, Objects, Shape, check_shape, class_id_of
from diffumask_datasets.review.corrections.merging import merged_row, objects_in, same_objects
from diffumask_datasets.review.database import load_fiftyone
from diffumask_datasets.sample import IGNORE

__all__ = ["corrections_of", "with_corrections"]

Label = npt.NDArray[np.uint8]


def corrections_of(name: str, source: str | Path) -> dict[str, Row]:
    """The rows of the samples whose labels were edited in FiftyOne, by sample id; those of other datasets are not looked at.

    Read are the field ``semantic``, the masks of the detections in ``instances``, and closed polylines of any field, each of
    which is one object more.

    Args:
        name: The name of the dataset in FiftyOne, as ``diffumask review`` made it.
        source: The dataset that it was made of: a folder, a URL or ``owner/name`` on the Hub.

    Returns:
        Sample id → row, with label, objects and classes made anew and quality 1.0.

    Raises:
        ReviewError: A label of an unknown class, one without a mask, or a mask of another size or with unknown values.
    """
    fo, opened = load_fiftyone(), open_dataset(source)
    dataset = fo.load_dataset(name)
    drawn = tuple(dataset.get_field_schema(embedded_doc_type=fo.Polylines))
    samples = dict(zip(*dataset.values(["sample_id", "id"]), strict=True))
    rows = (row for _, row in opened.rows() if row["sample_id"] in samples)
    merged = (_merged(row, dataset[samples[row["sample_id"]]], drawn, opened.classes) for row in rows)
    return {row["sample_id"]: row for row in merged if row is not None}


def with_corrections(opened: OpenDataset, corrected: Mapping[str, Row]) -> OpenDataset:
    """The dataset with some rows in place of its own of the same ids."""

    def read(split: str, start: int, columns: Sequence[str]) -> Iterator[Row]:
        wanted = columns if "sample_id" in columns else (*columns, "sample_id")
        for row in opened.read_columns(split, start, wanted):
            shown = corrected.get(row["sample_id"], row)
            yield {column: shown[column] for column in columns}

    return dataclasses.replace(opened, read_columns=read)


def _merged(row: Row, sample: Any, drawn: Sequence[str], classes: Sequence[str]) -> Row | None:
    label = label_of(row)
    height, width = label.shape
    where = f"FiftyOne's sample {row['sample_id']}"
    objects = _objects(sample, drawn, (height, width), classes=classes, where=where)
    edited = _label(sample, (height, width), most=len(classes), where=where)
    # A mask that nobody touched says nothing about objects that were drawn anew, and the other way round.
    if objects is not None and same_objects(objects_in(row), objects):
        objects = None
    if edited is not None and np.array_equal(edited, label):
        edited = None
    return None if objects is None and edited is None else merged_row(row, Edit(objects, edited))


def _label(sample: Any, shape: Shape, *, most: int, where: str) -> Label | None:
    semantic = _field(sample, "semantic")
    if semantic is None or not semantic.has_mask:
        return None
    mask = np.asarray(semantic.get_mask())
    if mask.ndim != 2:
        raise ReviewError(f"{where}: expected a semantic mask of one channel, got the shape {mask.shape}")
    check_shape(mask.shape, shape, where=f"{where}, semantic")
    strange = sorted({value for value in np.unique(mask).tolist() if not 0 <= value <= most and value != IGNORE})
    if strange:
        raise ReviewError(f"{where}, semantic: the value {strange[0]} is none of the {most} classes")
    return mask.astype(np.uint8)


def _objects(sample: Any, drawn: Sequence[str], shape: Shape, *, classes: Sequence[str], where: str) -> Objects | None:
    instances = _field(sample, "instances")
    if instances is None:
        return None
    found = [(detection.label, _detected(detection, shape, where=where)) for detection in instances.detections]
    for field in filter(None, (_field(sample, name) for name in drawn)):
        found += [(line.label, _enclosed(line, shape, where=where)) for line in field.polylines]
    return [(class_id_of(name, classes, where=where), mask) for name, mask in found]


def _field(sample: Any, name: str) -> Any:
    return sample[name] if sample.has_field(name) else None


def _detected(detection: Any, shape: Shape, *, where: str) -> Mask:
    if not detection.has_mask:
        raise ReviewError(
            f"{where}: the {detection.label} {detection.id} is a box without a mask: draw it, or delete it"
        )
    height, width = shape
    mask: Mask = detection.to_segmentation(frame_size=(width, height)).mask > 0
    return _not_empty(mask, f"{where}: the {detection.label} {detection.id}")


def _enclosed(line: Any, shape: Shape, *, where: str) -> Mask:
    if not line.closed:
        raise ReviewError(f"{where}: the {line.label} {line.id} is an open line: close it, or delete it")
    height, width = shape
    polygons = [(np.asarray(points) * (width, height)).ravel().tolist() for points in line.points if len(points) > 2]
    return _not_empty(rasterized(polygons, shape), f"{where}: the {line.label} {line.id}")


def _not_empty(mask: Mask, what: str) -> Mask:
    if not mask.any():
        raise ReviewError(f"{what} has no pixels: draw its mask, or delete it")
    return mask
