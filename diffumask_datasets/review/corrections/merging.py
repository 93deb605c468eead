"""From an edit to the row of the corrected sample. What a format cannot hold stays as the dataset has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.dataset.schema import AMODAL, Row, label_of, objects_of, png_cell
from diffumask_datasets.masks import rle
from diffumask_datasets.review.corrections.edit import Edit, Mask, Objects
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["merged_row", "objects_in", "same_objects"]

Label = npt.NDArray[np.uint8]

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)

SCORE = QUALITY = 1.0
"""Of what a person drew."""


def merged_row(row: Row, edit: Edit) -> Row | None:
    """The row with label, objects, classes and quality of the edit; None where the edit changes no pixel.

    Args:
        row: A checked row of the config ``default``.
        edit: What came back; its arrays have the size of the sample.

    Returns:
        The row. The image and all that tells how it was generated stay. A class that the dataset did not show has the
        threshold 0.
    """
    label = label_of(row)
    before = objects_in(row)
    if edit.label is None:
        objects = list(edit.objects or ())
        if same_objects(before, objects):
            return None
        return _row(row, _redrawn(label, before, objects), objects)
    objects = _completed(label, edit.label, before if edit.objects is None else edit.objects)
    if np.array_equal(label, edit.label) and (edit.objects is None or same_objects(before, objects)):
        return None
    return _row(row, edit.label, objects)


def objects_in(row: Row) -> list[tuple[int, Mask]]:
    """The objects of a checked row."""
    shape = label_of(row).shape
    return [(found.category, rle.decode(found.segmentation, shape)) for found in objects_of(row)]


def same_objects(one: Objects, other: Objects) -> bool:
    """Whether both hold the same masks of the same classes, in whatever order."""
    keys = [sorted((category, rle.encode(mask)["counts"]) for category, mask in objects) for objects in (one, other)]
    return keys[0] == keys[1]


def _redrawn(label: Label, before: Objects, objects: Objects) -> Label:
    """The semantic mask once objects have changed: what no object held or holds stays, unsure pixels among it."""
    drawn = label.copy()
    for _, mask in before:
        drawn[mask & (label != IGNORE)] = BACKGROUND
    kept = np.zeros(label.shape, dtype=bool)
    for category, mask in objects:
        drawn[mask] = category
        kept |= mask & (label == category)
    # Where objects overlap, the one in front stays in front.
    drawn[kept] = label[kept]
    return drawn


def _completed(label: Label, edited: Label, objects: Objects) -> list[tuple[int, Mask]]:
    """The objects within an edited mask.

    An object keeps its pixels that still have its class. Pixels that got a class go to the nearest object of that class
    in their connected region; a region without any is a new object.
    """
    kept = [(category, mask & (edited == category)) for category, mask in objects]
    found = [(category, mask.copy()) for category, mask in kept if mask.any()]
    held = np.zeros(label.shape, dtype=bool)
    for _, mask in found:
        held |= mask
    new = (edited != label) & ~held
    for category in np.unique(edited[new]).tolist():
        if category not in (BACKGROUND, IGNORE):
            _grow(found, category, edited == category, new=new)
    return found


def _grow(found: list[tuple[int, Mask]], category: int, shown: Mask, *, new: Mask) -> None:
    """Gives the ``new`` pixels of a class, ``shown``, to its objects in ``found``, or makes new objects of them."""
    own = [mask for known, mask in found if known == category]
    regions, _ = ndimage.label(shown, structure=_EIGHT_NEIGHBOURS)
    for number in np.unique(regions[new & shown]).tolist():
        region = regions == number
        near = [mask for mask in own if (mask & region).any()]
        if not near:
            found.append((category, region))
            continue
        for mask, share in zip(near, _shares(near, region, region & new), strict=True):
            mask |= share


def _shares(near: Sequence[Mask], region: Mask, added: Mask) -> list[Mask]:
    """The added pixels that are nearest to each object."""
    distances = np.stack([ndimage.distance_transform_edt(~(mask & region)) for mask in near])
    nearest = distances.argmin(axis=0)
    return [added & (nearest == place) for place in range(len(near))]


def _row(row: Row, label: Label, objects: Objects) -> Row:
    runs = [rle.encode(mask) for _, mask in objects]
    classes = [value for value in np.unique(label).tolist() if value not in (BACKGROUND, IGNORE)]
    thresholds = dict(zip(row.get("classes") or (), row.get("threshold") or (), strict=True))
    return {
        **row,
        "label": png_cell(label),
        "objects": {
            "id": list(range(1, len(objects) + 1)),
            "category": [category for category, _ in objects],
            "bbox": [list(rle.bbox_xywh(run)) for run in runs],
            "area": [rle.area(run) for run in runs],
            "segmentation": [dict(run) for run in runs],
            "score": [SCORE] * len(objects),
        },
        "classes": classes,
        "threshold": [thresholds.get(category, 0.0) for category in classes],
        "quality": QUALITY,
        **({AMODAL: None} if AMODAL in row else {}),
    }
