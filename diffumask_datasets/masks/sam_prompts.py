"""What a heat map asks a promptable segmenter: hot and cold points, a box, and the heat itself as a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.masks.promptable import LOGIT_LIMIT, Prompt

__all__ = ["PromptParts", "Region", "deepest_points", "log_odds", "prompt_of", "regions_of"]

COLD = 0.9
"""A pixel is cold where the background has at least this probability."""

MARGIN = 0.05
"""A box is larger than its component by this share of its side, on each side."""

REACH = 0.25
"""Cold points lie within this share of the box's side around it."""

SMALLEST = 16
"""Components of fewer pixels are not asked for: no grid of a segmenter shows them."""

MOST_REGIONS = 64
"""Components of a class beyond the largest are left as they are."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
_CROWDED = 0.5
"""A second point lies at least this many depths of the first away."""

_TINY = 1e-6

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PromptParts:
    """Which parts a prompt has: how many hot and how many cold points, a box, a mask."""

    points: int = 3
    negatives: int = 4
    box: bool = True
    mask: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One component of a class: its mask (height, width), and its cell, the pixels nearer to it than to the others."""

    label: int
    mask: Mask
    cell: Mask


def regions_of(label: int, mask: Mask, *, smallest: int = SMALLEST) -> list[Region]:
    """Finds the components of a mask.

    Args:
        label: What the mask is of.
        mask: (height, width).
        smallest: Components with fewer pixels are left out.

    Returns:
        The components, largest first.
    """
    components, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    if not count:
        return []
    areas = np.bincount(components.ravel())
    areas[0] = 0
    order = [int(number) for number in np.argsort(-areas, kind="stable") if areas[number] >= smallest][:MOST_REGIONS]
    if not order:
        return []
    asked = np.where(np.isin(components, order), components, 0)
    rows, columns = ndimage.distance_transform_edt(asked == 0, return_distances=False, return_indices=True)
    owner = asked[rows, columns]
    return [Region(label, components == number, owner == number) for number in order]


def log_odds(probability: Values) -> Values:
    """Logits of a probability, within ± :data:`~diffumask_datasets.masks.promptable.LOGIT_LIMIT`."""
    odds = np.log(probability + _TINY) - np.log1p(_TINY - probability)
    return np.asarray(np.clip(odds, -LOGIT_LIMIT, LOGIT_LIMIT), dtype=np.float32)


def prompt_of(
    region: Region, probabilities: Values, heat_map: Values, *, parts: PromptParts, erased: Mask | None = None
) -> Prompt:
    """Asks for the object of a region.

    Args:
        region: The component.
        probabilities: Of the labels, float32 (1 + classes, height, width), background first.
        heat_map: That of the region's class, float32 (height, width).
        parts: What the prompt consists of.
        erased: What was found before, (height, width): cold, whatever the heat there.

    Returns:
        The prompt, with at least one hot point.
    """
    hot = deepest_points(region.mask, heat_map, most=parts.points)
    cold = _cold_points(region, probabilities, erased, most=parts.negatives)
    heat = np.where(region.cell, log_odds(probabilities[region.label]), -LOGIT_LIMIT).astype(np.float32)
    if erased is not None:
        heat[erased] = -LOGIT_LIMIT
    return Prompt(
        points=np.array([*hot, *cold], dtype=np.float32).reshape(-1, 2)[:, ::-1].copy(),
        labels=np.array([1] * len(hot) + [0] * len(cold)),
        box=_box(region.mask) if parts.box else None,
        mask=heat if parts.mask else None,
    )


def deepest_points(mask: Mask, weight: Values | None = None, *, most: int) -> list[tuple[int, int]]:
    """Finds points deep within a mask: far from the outside, and apart from each other.

    Args:
        mask: (height, width).
        weight: What the distance to the outside is multiplied by.
        most: The most points that are found.

    Returns:
        (row, column) of each, the deepest first.
    """
    if not mask.any() or not most:
        return []
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    spacing = max(2.0, _CROWDED * float(depth.max()))
    value = depth if weight is None else depth * np.maximum(weight, np.finfo(np.float32).tiny)
    found: list[tuple[int, int]] = []
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    first = float(value.max())
    for _ in range(most):
        row, column = (int(place) for place in np.unravel_index(int(value.argmax()), value.shape))
        if value[row, column] < 0.2 * first:
            break
        found.append((row, column))
        value = np.where((rows - row) ** 2 + (columns - column) ** 2 < spacing**2, 0.0, value)
        if not value.any():
            break
    return found


def _cold_points(region: Region, probabilities: Values, erased: Mask | None, *, most: int) -> list[tuple[int, int]]:
    """In other classes first, then in what was found before, then in cold background around."""
    labels = probabilities.argmax(axis=0)
    found: list[tuple[int, int]] = []
    for other in _by_area(labels, without=(0, region.label)):
        found += deepest_points(labels == other, most=1)
    if erased is not None:
        found += deepest_points(erased & ~region.mask, most=2)
    around = np.zeros_like(region.mask)
    left, top, right, bottom = _box(region.mask, margin=REACH)
    around[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = True
    found = found[:most]
    return found + deepest_points(around & (probabilities[0] >= COLD), most=min(2, most - len(found)))


def _by_area(labels: npt.NDArray[np.intp], *, without: Sequence[int]) -> list[int]:
    areas = np.bincount(labels.ravel())
    return [int(label) for label in np.argsort(-areas, kind="stable") if areas[label] and label not in without]


def _box(mask: Mask, *, margin: float = MARGIN) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 around a mask, larger by ``margin`` and at least a pixel, within the image."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = (float(place) for place in (rows[0], rows[-1], columns[0], columns[-1]))
    down, across = max(1.0, margin * (bottom - top + 1)), max(1.0, margin * (right - left + 1))
    return (
        max(0.0, left - across),
        max(0.0, top - down),
        min(width - 1.0, right + across),
        min(height - 1.0, bottom + down),
    )
