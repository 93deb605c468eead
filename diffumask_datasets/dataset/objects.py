"""The column ``objects`` of a foreign row: lists of equal length whose masks fit the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffumask_datasets.dataset.values import INT32, class_id, finite, list_of, whole
from diffumask_datasets.errors import DataError, ShapeError, short_repr
from diffumask_datasets.masks import rle
from diffumask_datasets.sample import ObjectAnnotation

__all__ = ["MAX_OBJECTS", "OBJECT_FIELDS", "checked_objects"]

OBJECT_FIELDS = ("id", "category", "bbox", "area", "segmentation", "score")

MAX_OBJECTS = 10_000
"""Most objects of one image. Each costs a pass over its mask, and no image shows so many."""


def checked_objects(
    cell: object, shape: tuple[int, ...], class_count: int
) -> tuple[dict[str, Any], tuple[ObjectAnnotation, ...]]:
    """Checks the objects of a row. Box and area are those of the masks, computed anew.

    Args:
        cell: The cell as it was read.
        shape: Height and width of the image.
        class_count: The highest class id.

    Returns:
        The cell with its masks as pycocotools writes them, and its objects.

    Raises:
        DataError: No lists of equal length, too many, an id that comes twice, a value of the wrong type or range, or a mask
            that is empty or does not fit.
    """
    if not isinstance(cell, Mapping):
        raise DataError(f"objects: expected lists of {', '.join(OBJECT_FIELDS)}, got {short_repr(cell)}")
    count = _count(cell)
    ids = list_of(cell["id"], "objects.id", lambda value: whole(value, "objects.id", low=1, high=INT32), length=count)
    if len(set(ids)) < count:
        twice = next(number for number in ids if ids.count(number) > 1)
        raise DataError(f"object {twice} comes twice; give each object an id of its own")
    objects = tuple(_checked(cell, place, ids[place], shape, class_count) for place in range(count))
    return {**cell, "segmentation": [dict(found.segmentation) for found in objects]}, objects


def _count(cell: Mapping[str, Any]) -> int:
    lists = {name: list_of(cell.get(name), f"objects.{name}", lambda item: item) for name in OBJECT_FIELDS}
    lengths = {name: len(items) for name, items in lists.items()}
    count = lengths["id"]
    if set(lengths.values()) != {count}:
        raise DataError(f"objects: expected lists of one length, got {lengths}")
    if count > MAX_OBJECTS:
        raise DataError(f"{count} objects; at most {MAX_OBJECTS} are read of one image")
    return count


def _checked(
    cell: Mapping[str, Any], place: int, number: int, shape: tuple[int, ...], class_count: int
) -> ObjectAnnotation:
    try:
        category = class_id(cell["category"][place], class_count)
        list_of(cell["bbox"][place], "bbox", lambda value: finite(value, "bbox"), length=4)
        whole(cell["area"][place], "area")
        score = finite(cell["score"][place], "score")
        run = rle.checked(cell["segmentation"][place], shape)
    except (DataError, ShapeError) as error:
        raise DataError(f"object {number}: {error}") from error
    area = rle.area(run)
    if not area:
        raise DataError(f"object {number} has no pixels; drop it from the dataset")
    return ObjectAnnotation(number, category, rle.bbox_xywh(run), area, run, score)
