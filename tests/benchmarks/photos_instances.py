"""Instances out of a person's mask of a whole class: is their number right, and are their outlines those of the objects?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from diffumask_datasets.masks.components import separate_instances
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.watershed import part_touching
from diffumask_datasets.recipes.settings import MaskSettings
from tests.benchmarks.photos_data import Mask, OutlinedPhoto, outlined_photos

KINDS = ("alone", "apart", "touching")
"""One object of the class in the photo; several, of which no two touch; several, of which two do."""


def instance_figures(*, quick: bool) -> dict[str, float]:
    """Of the reported half without a suffix, and of the half that splitting may be chosen by."""
    halves = {"": outlined_photos(odd=True), "_choosing_half": outlined_photos(odd=False)}
    return {
        f"{figure}{half}": value
        for half, photos in halves.items()
        for figure, value in _figures(photos[: 10 if quick else None]).items()
    }


def _figures(photos: Sequence[OutlinedPhoto]) -> dict[str, float]:
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    overlaps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for photo in photos:
        for whole, outlines in classes_of(photo):
            found = separated(whole)
            kind = kind_of(outlines)
            right[kind].append(len(found) == len(outlines))
            overlaps[kind] += matched_ious(outlines, found)
    figures: dict[str, float] = {}
    for kind in KINDS:
        figures[f"instance_classes_{kind}"] = len(right[kind])
        figures[f"instance_count_right_{kind}"] = float(np.mean(right[kind])) if right[kind] else float("nan")
        figures[f"instance_iou_{kind}"] = float(np.mean(overlaps[kind])) if overlaps[kind] else float("nan")
    return figures


def classes_of(photo: OutlinedPhoto) -> list[tuple[Mask, list[Mask]]]:
    """Of each class its whole mask, and the outlines that are large enough for an instance; classes with none left out."""
    smallest = MaskSettings().min_area
    large = {
        class_id: [o for other, o in photo.outlines if other == class_id and o.mean() >= smallest]
        for class_id in photo.class_masks()
    }
    return [(photo.class_masks()[class_id], outlines) for class_id, outlines in large.items() if outlines]


def separated(whole: Mask) -> list[Mask]:
    """The instances that the product makes of the mask of one class."""
    settings = MaskSettings()
    instances = separate_instances(
        whole.astype(np.intp),
        np.zeros(whole.shape, dtype=bool),
        class_ids=[1],
        min_area=settings.min_area,
        part=lambda mask, box: part_touching(mask),
    )[1]
    return [instances == number for number in range(1, int(instances.max()) + 1)]


def kind_of(outlines: Sequence[Mask]) -> str:
    """One of :data:`KINDS`."""
    if len(outlines) == 1:
        return "alone"
    near = [ndimage.binary_dilation(outline, np.ones((3, 3))) for outline in outlines]
    meet = any(np.any(near[one] & outlines[other]) for one in range(len(outlines)) for other in range(one))
    return "touching" if meet else "apart"


def matched_ious(outlines: Sequence[Mask], found: Sequence[Mask]) -> list[float]:
    """IoU of each outline with the instance that is matched to it, one to one; 0.0 where none is left for it."""
    table: npt.NDArray[np.float64] = np.array([[iou(outline, mask) for mask in found] for outline in outlines])
    ious = np.zeros(len(outlines))
    if found:
        rows, columns = linear_sum_assignment(table, maximize=True)
        ious[rows] = table[rows, columns]
    return [float(value) for value in ious]
