"""Street masks damaged on purpose, in ways that mask generators fail."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffumask_datasets.sample import IGNORE
from tests.benchmarks.photos_data import Mask, Pixels

DAMAGED_SHARE = 0.3
"""As in ``bench-masks``: most masks are right, as in anything that is worth curating."""

KINDS = ("shifted", "eroded", "half missing", "wrong class", "empty")
"""As in ``bench-masks``, for scenes of several classes: the whole mask is shifted or empty, else one class is damaged."""

LEAST_SHARE = 0.05
"""A class that is damaged covers this much of the photo: what is done to less is no damage to speak of."""

SHIFTS = (0.2, 0.4)
"""Of the height and of the width, as ``bench-masks`` shifts an object by those shares of its extent."""


def damaged(label: Pixels, kind: str, rng: np.random.Generator, *, classes: int) -> Pixels:
    """A label (height, width) of 1..``classes`` and 255, damaged in one of :data:`KINDS`.

    A damaged class loses its outer half (``eroded``) or its left half (``half missing``) to the classes around it, or
    all of it to another class, present or not (``wrong class``).
    """
    if kind == "empty":
        return np.full_like(label, IGNORE)
    if kind == "shifted":
        return np.roll(label, [_shift(length, rng) for length in label.shape], axis=(0, 1))
    mask = label == _large_class(label, rng)
    if kind == "wrong class":
        others = np.setdiff1d(np.arange(1, classes + 1), label[mask][:1])
        return np.where(mask, rng.choice(others), label).astype(np.uint8)
    return _given_away(label, mask, _outer_half(mask) if kind == "eroded" else _left_half(mask))


def _shift(length: int, rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)) * rng.uniform(*SHIFTS) * length)


def _large_class(label: Pixels, rng: np.random.Generator) -> int:
    shares = np.bincount(label.ravel(), minlength=IGNORE + 1)[:IGNORE] / label.size
    return int(rng.choice(np.flatnonzero(shares >= LEAST_SHARE)))


def _outer_half(mask: Mask) -> Mask:
    depth = ndimage.distance_transform_edt(mask)
    return mask & (depth <= np.quantile(depth[mask], 0.5))


def _left_half(mask: Mask) -> Mask:
    return mask & (np.arange(mask.shape[1])[None] < np.median(np.nonzero(mask)[1]))


def _given_away(label: Pixels, mask: Mask, lost: Mask) -> Pixels:
    """The ``lost`` pixels of a class get the nearest other class."""
    free = mask | (label == IGNORE)
    rows, columns = ndimage.distance_transform_edt(free, return_distances=False, return_indices=True)
    return np.where(lost, label[rows, columns], label).astype(np.uint8)
