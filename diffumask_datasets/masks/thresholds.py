"""Binarization thresholds γ chosen per heat map: Otsu's, an adaptive one without training, and DiffuMask's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from skimage.filters import threshold_otsu
from skimage.transform import resize_local_mean

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.combine import best_labels, hard_probabilities, label_probabilities
from diffumask_datasets.masks.densecrf import DenseCrf, DenseCrfParameters
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.sample import ThresholdCurve, check_array

__all__ = [
    "PAPER_GAMMAS",
    "adaptive_search",
    "adaptive_threshold",
    "check_heat_map",
    "coarse_to_fine",
    "matching_search",
    "otsu_threshold",
]

Mask = npt.NDArray[np.bool_]

_CANDIDATES = np.linspace(0.1, 0.75, 14)
"""γ tried, as fractions of the heat map's own range: a map that leaks everywhere spans 0.4..1, not 0..1."""

_SEARCH_SIDE = 64
"""The search runs on an image of about this many pixels squared: attention has no finer detail to offer."""

PAPER_GAMMAS = tuple(round(0.35 + 0.01 * step, 2) for step in range(20))
"""The γ that DiffuMask tries."""

_MATCHING_SIDE = 128
"""As :data:`_SEARCH_SIDE`, for the search against an affinity mask, whose γ are closer together."""

_COARSE_STEP = 4

_SEARCH_PARAMETERS = DenseCrfParameters(iterations=5)
_OTSU_SHARE = 0.6
"""Where γ is expected, as a share of Otsu's: attention is strongest on an object's parts, which Otsu parts from the rest."""

_EXPECTATION_SPREAD = 0.1
_EXPECTATION_WEIGHT = 0.05
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
        raise ModelError(
            f"{name} is {low:.3g} everywhere: no attention tells where the class is; paint with another seed"
        )


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

    Each γ of a grid is refined by DenseCRF, at a small size and on one lattice. The γ wins whose refined mask changes least
    (IoU) towards the next lower and higher γ, which lies near 0.6 of Otsu's, and which leaves most of the frame to the
    background: a right γ lies on a plateau, a wrong one floods the background or breaks the object.

    DiffuMask (section 3.3) compares with the mask of a trained AffinityNet instead. On 300 rendered scenes with one object
    shown to the toybox this gives masks of IoU 0.984, Otsu's γ 0.957, the best γ of each image 0.988; with two
    or three objects 0.873, 0.860 and 0.892 (``make bench-masks``).

    Raises:
        ShapeError: shapes, dtypes or ranges that do not fit, or NaN.
        ModelError: a constant heat map.
        MissingDependencyError: pydensecrf is not installed.
    """
    return adaptive_search(heat_map, image)[0]


def adaptive_search(heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8]) -> tuple[float, ThresholdCurve]:
    """:func:`adaptive_threshold`, and the score of every γ that was tried."""
    check_heat_map(heat_map)
    check_array("image", image, shape=(*heat_map.shape, 3), dtype="uint8")
    low, high = float(heat_map.min()), float(heat_map.max())
    gammas = low + _CANDIDATES * (high - low)
    masks = _refined_masks(heat_map, image, gammas)
    expected = (otsu_threshold(heat_map) - low) / (high - low) * _OTSU_SHARE
    surprise = 0.5 * ((_CANDIDATES - expected) / _EXPECTATION_SPREAD) ** 2
    frames = np.array([_frame_share(mask) for mask in masks])
    scores = _stability(masks) - _EXPECTATION_WEIGHT * surprise - _FRAME_WEIGHT * frames
    curve = ThresholdCurve(tuple(gammas.tolist()), tuple(scores.tolist()))
    shares = np.array([mask.mean() for mask in masks])
    legal = (shares > _LEGAL_SHARE[0]) & (shares < _LEGAL_SHARE[1])
    if not legal.any():
        return otsu_threshold(heat_map), curve
    return float(gammas[int(np.argmax(np.where(legal, scores, -np.inf)))]), curve


def matching_search(
    heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], wanted: Mask
) -> tuple[float, ThresholdCurve]:
    """DiffuMask's γ (section 3.3): the one whose refined mask has the best IoU with the affinity mask ``wanted``.

    Of :data:`PAPER_GAMMAS` every fourth is tried, then those around the best: where IoU rises to one peak and falls, that
    finds the γ that trying all would find. Where no γ meets the mask at all, Otsu's decides.

    Raises:
        ShapeError: shapes, dtypes or ranges that do not fit, or NaN.
        ModelError: a constant heat map.
        MissingDependencyError: pydensecrf is not installed.
    """
    check_heat_map(heat_map)
    check_array("image", image, shape=(*heat_map.shape, 3), dtype="uint8")
    check_array("wanted", wanted, shape=heat_map.shape, dtype="bool")
    heat, pixels = _shrunk(heat_map, image, _MATCHING_SIDE)
    target = resize_local_mean(wanted.astype(np.float32), heat.shape) >= 0.5
    crf = DenseCrf(pixels, parameters=_SEARCH_PARAMETERS)

    def overlap(index: int) -> float:
        return iou(best_labels(crf.refine(hard_probabilities(heat[None], [PAPER_GAMMAS[index]]))) == 1, target)

    best, scores = coarse_to_fine(overlap, len(PAPER_GAMMAS))
    tried = sorted(scores)
    curve = ThresholdCurve(tuple(PAPER_GAMMAS[index] for index in tried), tuple(scores[index] for index in tried))
    return (PAPER_GAMMAS[best] if scores[best] > 0 else otsu_threshold(heat_map)), curve


def coarse_to_fine(
    score: Callable[[int], float], count: int, *, step: int = _COARSE_STEP
) -> tuple[int, dict[int, float]]:
    """The index in 0..``count`` - 1 with the best score, and all scores that were computed.

    Every ``step``-th index is tried, and the last; then all between the neighbours of the best. Ties go to the lowest.
    Exact where the scores rise strictly to one peak, and fall strictly after it.
    """
    coarse = sorted({*range(0, count, step), count - 1})
    scores = {index: score(index) for index in coarse}
    peak = max(coarse, key=lambda index: (scores[index], -index))
    place = coarse.index(peak)
    first, last = coarse[max(0, place - 1)], coarse[min(len(coarse) - 1, place + 1)]
    scores |= {index: score(index) for index in range(first, last + 1) if index not in scores}
    return max(scores, key=lambda index: (scores[index], -index)), scores


def _refined_masks(
    heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], gammas: npt.NDArray[np.float64]
) -> list[Mask]:
    heat, pixels = _shrunk(heat_map, image, _SEARCH_SIDE)
    crf = DenseCrf(pixels, parameters=_SEARCH_PARAMETERS)
    return [best_labels(crf.refine(label_probabilities(heat[None], [gamma]))) == 1 for gamma in gammas]


def _shrunk(
    heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Both with about ``side`` squared pixels at most."""
    scale = min(1.0, side / float(np.sqrt(heat_map.size)))
    size = tuple(max(1, round(length * scale)) for length in heat_map.shape)
    heat = resize_local_mean(heat_map, size).astype(np.float32)
    pixels = resize_local_mean(image, size, channel_axis=2, preserve_range=True)
    return heat, pixels.round().astype(np.uint8)


def _stability(masks: list[Mask]) -> npt.NDArray[np.float64]:
    """Mean IoU of each mask with its one or two neighbours."""
    overlaps = np.array([iou(one, other) for one, other in itertools.pairwise(masks)])
    return np.array([overlaps[max(0, index - 1) : index + 1].mean() for index in range(len(masks))])


def _frame_share(mask: Mask) -> float:
    """Share of the image's outermost pixels that the mask covers."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
