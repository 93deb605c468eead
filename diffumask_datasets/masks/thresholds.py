"""Binarization thresholds γ chosen per heat map: Otsu's, and an adaptive one that needs no training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu
from skimage.transform import resize_local_mean

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.combine import best_labels, label_probabilities
from diffumask_datasets.masks.densecrf import DenseCrf
from diffumask_datasets.sample import check_array

__all__ = ["adaptive_threshold", "check_heat_map", "otsu_threshold"]

Mask = npt.NDArray[np.bool_]

_CANDIDATES = np.arange(0.20, 0.801, 0.04)
"""γ tried, as fractions of the heat map's own range: a map that leaks everywhere spans 0.4..1, not 0..1."""

_SEARCH_SIDE = 64
"""The search runs on an image of about this many pixels squared: attention has no finer detail to offer."""

_OTSU_SPREAD = 0.15
_FRAME_WEIGHT = 0.5
_LEGAL_SHARE = (0.005, 0.95)


def check_heat_map(heat_map: npt.NDArray[np.float32], *, name: str = "heat map") -> None:
    """Nothing, where ``heat_map`` is float32 (height, width) in [0, 1] and varies.

    Raises:
        ShapeError: another shape, dtype or range, or NaN; says expected and actual.
        ModelError: a constant heat map.
    """
    check_array(name, heat_map, shape=("height", "width"), dtype="float32")
    missing = int(np.isnan(heat_map).sum())
    if missing:
        raise ShapeError(f"{name}: expected numbers in [0, 1], got NaN in {missing} of {heat_map.size} pixels")
    low, high = float(heat_map.min()), float(heat_map.max())
    if low < 0 or high > 1:
        raise ShapeError(f"{name}: expected numbers in [0, 1], got {low:.3g} to {high:.3g}")
    if low == high:
        raise ModelError(f"{name} is {low:.3g} everywhere: no attention tells where the class is; paint with another seed")


def otsu_threshold(heat_map: npt.NDArray[np.float32]) -> float:
    """γ that best parts the histogram of a heat map, float32 (height, width) in [0, 1], in two (Otsu 1979).

    Raises:
        ShapeError: another shape, dtype or range, or NaN.
        ModelError: a constant heat map.
    """
    check_heat_map(heat_map)
    return float(threshold_otsu(heat_map))


def adaptive_threshold(heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8]) -> float:
    """γ for a heat map, float32 (height, width) in [0, 1], of an ``image``, uint8 (height, width, 3); needs no training.

    Each γ of a grid is refined by DenseCRF, at a small size and on one lattice. The γ wins whose refined mask agrees best
    (mean IoU) with those of the other γ, the ones near Otsu's counting most, and which leaves most of the frame to the
    background: a right γ lies on a plateau, a wrong one floods the background or breaks the object.

    DiffuMask (section 3.3) compares with a mask that a trained AffinityNet made. Without one, asking for agreement between
    a binary mask and its own refinement rewards sheer size; TABLE

    Raises:
        ShapeError: shapes, dtypes or ranges that do not fit, or NaN.
        ModelError: a constant heat map.
        MissingDependencyError: pydensecrf is not installed.
    """
    check_heat_map(heat_map)
    check_array("image", image, shape=(*heat_map.shape, 3), dtype="uint8")
    low, high = float(heat_map.min()), float(heat_map.max())
    gammas = low + _CANDIDATES * (high - low)
    masks = _refined_masks(heat_map, image, gammas)
    shares = np.array([mask.mean() for mask in masks])
    legal = (shares > _LEGAL_SHARE[0]) & (shares < _LEGAL_SHARE[1])
    if not legal.any():
        return otsu_threshold(heat_map)
    nearness = np.exp(-0.5 * ((gammas - otsu_threshold(heat_map)) / (_OTSU_SPREAD * (high - low))) ** 2)
    scores = _agreement(masks, nearness) - _FRAME_WEIGHT * np.array([_frame_share(mask) for mask in masks])
    return float(gammas[int(np.argmax(np.where(legal, scores, -np.inf)))])


def _refined_masks(heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], gammas: npt.NDArray[np.float64]) -> list[Mask]:
    scale = min(1.0, _SEARCH_SIDE / float(np.sqrt(heat_map.size)))
    size = tuple(max(1, round(side * scale)) for side in heat_map.shape)
    heat = resize_local_mean(heat_map, size).astype(np.float32)
    crf = DenseCrf(resize_local_mean(image, size, channel_axis=2, preserve_range=True).round().astype(np.uint8))
    return [best_labels(crf.refine(label_probabilities(heat[None], [gamma]))) == 1 for gamma in gammas]


def _agreement(masks: list[Mask], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weighted mean IoU of each mask with all of them."""
    flat = np.stack([mask.ravel() for mask in masks]).astype(np.float64)  # (masks, pixels)
    shared = flat @ flat.T
    areas = np.diag(shared)
    union = np.maximum(areas[:, None] + areas[None, :] - shared, 1)
    return np.asarray((shared / union) @ weights / weights.sum())


def _frame_share(mask: Mask) -> float:
    """Share of the image's outermost pixels that the mask covers."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
