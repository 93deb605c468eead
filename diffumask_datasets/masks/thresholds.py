"""Binarization thresholds γ chosen per heat map: Otsu's, and an adaptive one that needs no training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.sample import check_array

__all__ = ["adaptive_threshold", "check_heat_map", "otsu_threshold"]

Refine = Callable[[npt.NDArray[np.float32], float], npt.NDArray[np.bool_]]
_GRID = np.round(np.arange(0.30, 0.701, 0.04), 2)


def check_heat_map(heat_map: npt.NDArray[np.float32], *, name: str = "heat map") -> None:
    """Raises ShapeError unless float32 (height, width) in [0, 1], ModelError where it is constant."""
    check_array(name, heat_map, shape=("height", "width"), dtype="float32")
    if np.isnan(heat_map).any():
        raise ShapeError(f"{name}: expected numbers in [0, 1], got NaN in {int(np.isnan(heat_map).sum())} pixels")
    low, high = float(heat_map.min()), float(heat_map.max())
    if low < 0 or high > 1:
        raise ShapeError(f"{name}: expected numbers in [0, 1], got {low:.3g} to {high:.3g}")
    if low == high:
        raise ModelError(f"{name} is constant ({low:.3g}): the model gave no attention to tell the class by")


def otsu_threshold(heat_map: npt.NDArray[np.float32]) -> float:
    """γ that best parts the histogram of a heat map, float32 (height, width) in [0, 1], in two (Otsu 1979).

    Raises:
        ShapeError: another shape, dtype or range, or NaN.
        ModelError: a constant heat map.
    """
    check_heat_map(heat_map)
    return float(threshold_otsu(heat_map))


def adaptive_threshold(heat_map: npt.NDArray[np.float32], refine: Refine) -> float:
    """γ whose binary mask agrees best (IoU) with its own refinement."""
    check_heat_map(heat_map)
    low, high = float(heat_map.min()), float(heat_map.max())
    candidates = low + _GRID * (high - low)
    agreement = [_iou(heat_map >= gamma, refine(heat_map, float(gamma))) for gamma in candidates]
    return float(candidates[int(np.argmax(agreement))])


def _iou(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0
