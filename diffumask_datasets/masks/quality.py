"""Estimates mask quality without ground truth, from the agreement of independent cues."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["FLOODED_SHARE", "class_quality", "covered_share", "iou", "separation", "stability"]

FLOODED_SHARE = 0.95
"""A mask that covers more of the image than this has flooded it."""

_STEP = 0.1
"""How far γ is moved to see whether the mask stays, as a fraction of the heat map's own range."""

Mask = npt.NDArray[np.bool_]


def class_quality(
    raw: Mask,
    refined: Mask,
    *,
    heat_map: npt.NDArray[np.float32],
    threshold: float,
    affinity_mask: Mask | None = None,
    fills: bool = False,
) -> float:
    """Estimates the quality of a mask: the mean of three agreements.

    They are the IoU before and after refinement, :func:`stability`, and, where there is an affinity mask, the IoU with it.

    Args:
        raw: The mask before refinement, (height, width).
        refined: The mask after it.
        heat_map: What it was made of.
        threshold: Its γ.
        affinity_mask: The mask of the spread heat map.
        fills: Whether a class may fill the image, as it may where there is no background.

    Returns:
        In [0, 1]; 0.0 where refinement leaves nothing, or more than :data:`FLOODED_SHARE` of an image that no class fills.
    """
    if not refined.any() or (refined.mean() > FLOODED_SHARE and not fills):
        return 0.0
    agreements = [iou(raw, refined), stability(heat_map, threshold)]
    if affinity_mask is not None:
        agreements.append(iou(affinity_mask, refined))
    return float(np.mean(agreements))


def stability(heat_map: npt.NDArray[np.float32], threshold: float) -> float:
    """IoU of the masks at a slightly higher and a slightly lower γ: 1 where the heat falls off like a cliff."""
    step = _STEP * float(np.ptp(heat_map))
    return iou(heat_map >= threshold + step, heat_map >= threshold - step)


def separation(heat_map: npt.NDArray[np.float32], *, inside: Mask, outside: Mask) -> float:
    """Tells how far a heat map separates two masks.

    Args:
        heat_map: (height, width).
        inside: The mask that should be hot.
        outside: The mask that should not.

    Returns:
        The probability that a pixel of the first is hotter than one of the second, equals counting half; 1.0 where one of
        the masks is empty.
    """
    cold, hot = np.sort(heat_map[outside]), heat_map[inside]
    if not cold.size or not hot.size:
        return 1.0
    below = np.searchsorted(cold, hot, side="left") + np.searchsorted(cold, hot, side="right")
    return float(below.mean() / (2 * cold.size))


def covered_share(label: npt.NDArray[np.uint8]) -> float:
    """The share of an image, in [0, 1], that some class of its semantic mask covers; ignored pixels do not count."""
    return float(np.mean((label != BACKGROUND) & (label != IGNORE)))


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 0.0 where both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0
