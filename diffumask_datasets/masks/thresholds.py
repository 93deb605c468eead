"""Binarization thresholds γ chosen per heat map: Otsu's, an adaptive one without training, and DiffuMask's own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.densecrf import PAPER_PARAMETERS, DenseCrf, DenseCrfParameters
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.unary import affinity_labels, best_labels, hard_probabilities, label_probabilities
from diffumask_datasets.masks.working_size import shrink_image, shrink_maps, working_size
from diffumask_datasets.sample import ThresholdCurve, check_array

__all__ = [
    "PAPER_GAMMAS",
    "adaptive_search",
    "adaptive_thresholds",
    "affinity_thresholds",
    "check_heat_map",
    "coarse_to_fine",
    "matching_search",
    "otsu_threshold",
    "otsu_thresholds",
]

Mask = npt.NDArray[np.bool_]

_CANDIDATES = np.linspace(0.15, 0.85, 15)
"""γ tried, as fractions of the heat map's own range: a map that leaks everywhere spans 0.4..1, not 0..1."""

_SEARCH_SIDE = 64
"""The search runs on an image of about this many pixels squared: attention has no finer detail to offer."""

PAPER_GAMMAS = tuple(round(0.35 + 0.01 * step, 2) for step in range(20))
"""The γ that DiffuMask tries."""

_MATCHING_SIDE = 128
"""As :data:`_SEARCH_SIDE`, for the search against an affinity mask, whose γ are closer together."""

_COARSE_STEP = 4

_SEARCH_PARAMETERS = DenseCrfParameters(bilateral_compat=6.0, iterations=5)
"""Masks of the search are not held to the heat map: they would look alike at every γ. A weaker colour term stands in."""

_PAPER_SEARCH_PARAMETERS = dataclasses.replace(PAPER_PARAMETERS, iterations=5)

_OTSU_SHARE = 1.0
"""Where γ is expected, as a share of Otsu's."""

_OTSU_SHARE_OF_SEVERAL = 0.85
"""The same with several classes in one image: the border towards another class is settled by which of them is hotter, so
that a lower γ costs little, and finds more of each class where it meets the background."""

_EXPECTATION_SPREAD = 0.1
_EXPECTATION_WEIGHT = 0.05
_STABILITY_WEIGHT = 0.5
_EDGE_WEIGHT = 0.5
_FRAME_WEIGHT = 0.5
_EDGE_SIGMA = 1.5
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
            f"{name} is {low:.3g} everywhere: no attention tells where the class is; generate with another seed"
        )


def otsu_threshold(heat_map: npt.NDArray[np.float32]) -> float:
    """γ that best parts the histogram of a heat map, float32 (height, width) in [0, 1], in two (Otsu 1979).

    Raises:
        ShapeError: another shape, dtype or range, or NaN.
        ModelError: a constant heat map.
    """
    check_heat_map(heat_map)
    return float(threshold_otsu(heat_map))


def adaptive_search(
    heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], *, several: bool = False
) -> tuple[float, ThresholdCurve]:
    """γ for a heat map, and the score of every γ that was tried; needs no training.

    Each γ of a grid is refined by DenseCRF, at a small size and on one lattice. The γ wins whose refined mask changes least
    (IoU) towards the next lower and higher γ, whose border lies where the heat falls off most steeply, which is near Otsu's,
    and which leaves most of the frame to the background: a right γ lies on a plateau, a wrong one floods the background or
    breaks the object. DiffuMask (section 3.3) compares with the mask of a trained AffinityNet instead.

    The weights were chosen on drawn scenes shown to the toybox and on half of the photographs of ``make bench-photos``
    together; the figures on the other half, and on other scenes, are in ``docs/benchmarks.md``.

    Args:
        heat_map: float32 (height, width) in [0, 1], normalized locally where the mask will be made of that.
        image: uint8 (height, width, 3).
        several: whether other classes are asked for in the same image.

    Returns:
        γ, and the scores of all that were tried.

    Raises:
        ShapeError: shapes, dtypes or ranges that do not fit, or NaN.
        ModelError: a constant heat map.
        MissingDependencyError: pydensecrf is not installed.
    """
    check_array("image", image, shape=(*heat_map.shape, 3), dtype="uint8")
    crf = _lattice(image, _SEARCH_SIDE, labels=2 * len(_CANDIDATES), parameters=_SEARCH_PARAMETERS)
    return _adaptive(heat_map, crf, several=several)


def _adaptive(heat_map: npt.NDArray[np.float32], crf: DenseCrf, *, several: bool) -> tuple[float, ThresholdCurve]:
    check_heat_map(heat_map)
    heat = shrink_maps(heat_map[None], crf.size)[0]
    low, high = float(heat.min()), float(heat.max())
    gammas = low + _CANDIDATES * (high - low)
    refined = crf.refine_each(np.stack([label_probabilities(heat[None], [gamma]) for gamma in gammas]))
    masks = [best_labels(probabilities) == 1 for probabilities in refined]
    scores = _scores(heat, masks, several=several)
    curve = ThresholdCurve(tuple(gammas.tolist()), tuple(scores.tolist()))
    shares = np.array([mask.mean() for mask in masks])
    legal = (shares > _LEGAL_SHARE[0]) & (shares < _LEGAL_SHARE[1])
    if not legal.any():
        return otsu_threshold(heat_map), curve
    return float(gammas[int(np.argmax(np.where(legal, scores, -np.inf)))]), curve


def otsu_thresholds(
    image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32], affinity_maps: npt.NDArray[np.float32] | None
) -> list[tuple[float, ThresholdCurve]]:
    """Chooses γ by Otsu's method: the threshold ``"otsu"``.

    Args:
        image: Not looked at.
        heat_maps: float32 (classes, height, width) in [0, 1].
        affinity_maps: Not looked at.

    Returns:
        γ of each heat map.
    """
    return [(otsu_threshold(heat_map), ThresholdCurve()) for heat_map in heat_maps]


def adaptive_thresholds(
    image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32], affinity_maps: npt.NDArray[np.float32] | None
) -> list[tuple[float, ThresholdCurve]]:
    """Chooses γ by :func:`adaptive_search`: the threshold ``"adaptive"``.

    Args:
        image: uint8 (height, width, 3).
        heat_maps: float32 (classes, height, width) in [0, 1].
        affinity_maps: Not looked at.

    Returns:
        γ of each heat map, and the scores of all that were tried.
    """
    crf = _lattice(image, _SEARCH_SIDE, labels=2 * len(_CANDIDATES), parameters=_SEARCH_PARAMETERS)
    return [_adaptive(heat_map, crf, several=len(heat_maps) > 1) for heat_map in heat_maps]


def affinity_thresholds(
    image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32], affinity_maps: npt.NDArray[np.float32] | None
) -> list[tuple[float, ThresholdCurve]]:
    """Chooses γ by :func:`matching_search`: the threshold ``"affinity"``.

    Args:
        image: uint8 (height, width, 3).
        heat_maps: float32 (classes, height, width) in [0, 1].
        affinity_maps: The same after they were spread along an affinity.

    Returns:
        γ of each heat map, and the IoU of all that were tried.

    Raises:
        ShapeError: No affinity maps.
    """
    if affinity_maps is None:
        raise ShapeError("affinity_maps: the threshold 'affinity' needs the heat maps after affinity, got none")
    check_array("affinity_maps", affinity_maps, shape=heat_maps.shape, dtype="float32")
    labels = affinity_labels(affinity_maps)
    crf = _lattice(image, _MATCHING_SIDE, labels=2, parameters=_PAPER_SEARCH_PARAMETERS)
    return [_matching(heat, crf, labels == index) for index, heat in enumerate(heat_maps, start=1)]


def _scores(heat: npt.NDArray[np.float32], masks: list[Mask], *, several: bool) -> npt.NDArray[np.float64]:
    low, span = float(heat.min()), float(np.ptp(heat)) or 1.0
    expected = (float(threshold_otsu(heat)) - low) / span * (_OTSU_SHARE_OF_SEVERAL if several else _OTSU_SHARE)
    surprise = 0.5 * ((_CANDIDATES - expected) / _EXPECTATION_SPREAD) ** 2
    frames = np.array([_frame_share(mask) for mask in masks])
    scores = _STABILITY_WEIGHT * _stability(masks) - _EXPECTATION_WEIGHT * surprise - _FRAME_WEIGHT * frames
    # Where classes meet, the heat of each is as steep at their common border as at its own: it tells nothing of γ.
    return scores if several else scores + _EDGE_WEIGHT * _edge_steepness(heat, masks)


def matching_search(
    heat_map: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], wanted: Mask
) -> tuple[float, ThresholdCurve]:
    """Chooses DiffuMask's γ (section 3.3): the one whose refined mask has the best IoU with the affinity mask.

    Of :data:`PAPER_GAMMAS` every fourth is tried, then those around the best: where IoU rises to one peak and falls, that
    finds the γ that trying all would find. Where no γ meets the mask at all, Otsu's decides.

    Args:
        heat_map: float32 (height, width) in [0, 1].
        image: uint8 (height, width, 3).
        wanted: The affinity mask, (height, width).

    Returns:
        γ, and the IoU of all that were tried.

    Raises:
        ShapeError: Shapes, dtypes or ranges that do not fit, or NaN.
        ModelError: A constant heat map.
        MissingDependencyError: pydensecrf is not installed.
    """
    check_array("image", image, shape=(*heat_map.shape, 3), dtype="uint8")
    check_array("wanted", wanted, shape=heat_map.shape, dtype="bool")
    return _matching(heat_map, _lattice(image, _MATCHING_SIDE, labels=2, parameters=_PAPER_SEARCH_PARAMETERS), wanted)


def _matching(heat_map: npt.NDArray[np.float32], crf: DenseCrf, wanted: Mask) -> tuple[float, ThresholdCurve]:
    check_heat_map(heat_map)
    heat = shrink_maps(heat_map[None], crf.size)[0]
    target = shrink_maps(wanted[None].astype(np.float32), crf.size)[0] >= 0.5

    def overlap(index: int) -> float:
        return iou(best_labels(crf.refine(hard_probabilities(heat[None], [PAPER_GAMMAS[index]]))) == 1, target)

    best, scores = coarse_to_fine(overlap, len(PAPER_GAMMAS))
    tried = sorted(scores)
    curve = ThresholdCurve(tuple(PAPER_GAMMAS[index] for index in tried), tuple(scores[index] for index in tried))
    return (PAPER_GAMMAS[best] if scores[best] > 0 else otsu_threshold(heat_map)), curve


def coarse_to_fine(
    score: Callable[[int], float], count: int, *, step: int = _COARSE_STEP
) -> tuple[int, dict[int, float]]:
    """Searches for the best score. Exact where the scores rise strictly to one peak, and fall strictly after it.

    Args:
        score: Gives the score of an index.
        count: The number of indices, from 0 up.
        step: Every so many indices one is tried, and the last; then all between the neighbours of the best.

    Returns:
        The index with the best score, the lowest of several, and all scores that were computed.
    """
    coarse = sorted({*range(0, count, step), count - 1})
    scores = {index: score(index) for index in coarse}
    peak = max(coarse, key=lambda index: (scores[index], -index))
    place = coarse.index(peak)
    first, last = coarse[max(0, place - 1)], coarse[min(len(coarse) - 1, place + 1)]
    scores |= {index: score(index) for index in range(first, last + 1) if index not in scores}
    return max(scores, key=lambda index: (scores[index], -index)), scores


def _lattice(image: npt.NDArray[np.uint8], side: int, *, labels: int, parameters: DenseCrfParameters) -> DenseCrf:
    height, width, _ = image.shape
    return DenseCrf(shrink_image(image, working_size(height, width, side=side)), labels, parameters=parameters)


def _stability(masks: list[Mask]) -> npt.NDArray[np.float64]:
    """Mean IoU of each mask with its one or two neighbours."""
    overlaps = np.array([iou(one, other) for one, other in itertools.pairwise(masks)])
    return np.array([overlaps[max(0, index - 1) : index + 1].mean() for index in range(len(masks))])


def _edge_steepness(heat: npt.NDArray[np.float32], masks: list[Mask]) -> npt.NDArray[np.float64]:
    """Of each mask, the mean gradient of the heat along its border, as a share of the steepest; 0.0 without a border."""
    gradient = ndimage.gaussian_gradient_magnitude(heat, _EDGE_SIGMA)
    gradient /= float(gradient.max()) or 1.0
    borders = [ndimage.binary_dilation(mask) ^ mask for mask in masks]
    return np.array([float(gradient[border].mean()) if border.any() else 0.0 for border in borders])


def _frame_share(mask: Mask) -> float:
    """Share of the image's outermost pixels that the mask covers."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
