"""Objects of one class that touch, as a promptable segmenter sees them: one prompt a seed, masks that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.masks.promptable import Answer, Prompt, Segmenter
from diffumask_datasets.masks.watershed import LEAST_SHARE, part_touching

__all__ = ["MOST_SEEDS", "part_by_segmenter", "seeds_of"]

MOST_SEEDS = 12
"""Seeds of one component."""

SEED_DEPTH = 0.35
"""A seed lies at least this share of the deepest pixel's depth within the component."""

SEED_SPACING = 0.8
"""Seeds are apart by this share of the component's thickness."""

LEAST_WITHIN = 0.7
"""An answer of which a smaller share lies within the component is about something else."""

MOST_SHARED = 0.5
"""An object that shares more of its pixels than this with better ones is none of its own."""

LEAST_COVERED = 0.6
"""Objects that leave more of the component uncovered are not believed: it is parted at its necks instead."""

Labels = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    """An answer within the component: its logits, its mask (height, width), and how good it is in [0, 1]."""

    logits: npt.NDArray[np.float32]
    mask: Mask
    quality: float


def part_by_segmenter(
    mask: Mask, box: tuple[slice, slice], *, image: npt.NDArray[np.uint8], segmenter: Segmenter
) -> tuple[Labels, int]:
    """Takes one connected mask apart into what the segmenter sees as objects.

    Each seed within the mask is asked for alone. The best answers that hardly overlap are objects; every pixel goes to the
    object that claims it most.

    Args:
        mask: Cut out of the image at ``box``.
        box: Rows and columns of the mask in the image.
        image: uint8 (height, width, 3).
        segmenter: What is asked.

    Returns:
        Labels as large as ``mask``, 0 outside and 1..n inside in the order of their first pixels, and n.
    """
    whole = np.zeros(image.shape[:2], dtype=bool)
    whole[box] = mask
    labels, count = _parted(whole, image, segmenter)
    return labels[box], count


def _parted(mask: Mask, image: npt.NDArray[np.uint8], segmenter: Segmenter) -> tuple[Labels, int]:
    seeds = seeds_of(mask)
    if len(seeds) < 2:
        return mask.astype(np.intp), int(mask.any())
    prompts = [Prompt(np.array([[column, row]], np.float32), np.array([1])) for row, column in seeds]
    proposals = [_best(mask, seed, answer) for seed, answer in zip(seeds, segmenter.ask(image, prompts), strict=True)]
    objects = _apart([one for one in proposals if one is not None])
    if not objects or np.any([one.mask for one in objects], axis=0)[mask].mean() < LEAST_COVERED:
        return part_touching(mask)
    return _labelled(mask, objects)


def seeds_of(mask: Mask) -> list[tuple[int, int]]:
    """Points (row, column) deep within a mask, each as far as can be from those before it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    thickness = float(depth.max())
    inside = np.argwhere(depth >= max(1.0, SEED_DEPTH * thickness))
    if not len(inside):
        return []
    row, column = (int(place) for place in np.unravel_index(int(depth.argmax()), depth.shape))
    seeds = [(row, column)]
    away = np.hypot(*(inside - seeds[0]).T)
    while len(seeds) < MOST_SEEDS and away.max() > 2 * SEED_SPACING * thickness:
        row, column = (int(place) for place in inside[int(away.argmax())])
        seeds.append((row, column))
        away = np.minimum(away, np.hypot(*(inside - seeds[-1]).T))
    return seeds


def _best(mask: Mask, seed: tuple[int, int], answer: Answer) -> _Proposal | None:
    """The candidate around the seed with the largest product of promised IoU and share within the component."""
    best = None
    for logits, score in zip(answer.logits, answer.scores, strict=True):
        found = logits > 0
        within = found & mask
        share = float(np.count_nonzero(within)) / max(1, int(np.count_nonzero(found)))
        quality = float(np.clip(score, 0, 1)) * share
        if found[seed] and share >= LEAST_WITHIN and (best is None or quality > best.quality):
            best = _Proposal(logits, within, quality)
    return best


def _apart(proposals: Sequence[_Proposal]) -> list[_Proposal]:
    """The best proposals of which none is mostly covered by better ones, nor a limb beside the largest."""
    kept: list[_Proposal] = []
    taken = None
    for one in sorted(proposals, key=lambda one: -one.quality):
        shared = 0.0 if taken is None else float(taken[one.mask].mean())
        if shared <= MOST_SHARED:
            kept.append(one)
            taken = one.mask if taken is None else taken | one.mask
    areas = [np.count_nonzero(one.mask) for one in kept]
    return [one for one, area in zip(kept, areas, strict=True) if area >= LEAST_SHARE * max(areas)]


def _labelled(mask: Mask, objects: Sequence[_Proposal]) -> tuple[Labels, int]:
    """Every pixel of the mask as the object that claims it most, numbered in the order of first pixels."""
    claims = np.stack([one.logits for one in objects]).argmax(axis=0)
    order = list(dict.fromkeys(claims[mask].tolist()))
    numbers = np.zeros(len(objects), dtype=np.intp)
    numbers[order] = np.arange(1, len(order) + 1)
    return np.where(mask, numbers[claims], 0), len(order)
