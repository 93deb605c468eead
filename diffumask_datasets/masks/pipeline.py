"""The whole way from an image and its heat maps to masks, instances and objects."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ShapeError
from diffumask_datasets.masks.components import Part, separate_instances
from diffumask_datasets.masks.normalization import normalize_locally
from diffumask_datasets.masks.objects import describe_objects
from diffumask_datasets.masks.quality import class_quality
from diffumask_datasets.masks.thresholds import check_heat_map
from diffumask_datasets.masks.unary import (
    affinity_labels,
    best_labels,
    certainty,
    hard_probabilities,
    label_probabilities,
    without_background,
)
from diffumask_datasets.masks.watershed import part_touching
from diffumask_datasets.masks.working_size import enlarge, enlarged_labels, shrink_image, shrink_maps, working_size
from diffumask_datasets.recipes.refinement_settings import SamRefinement
from diffumask_datasets.recipes.registry import REFINEMENTS, THRESHOLDS
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.sample import BACKGROUND, IGNORE, MAX_CLASS_ID, ObjectAnnotation, ThresholdCurve, check_array

__all__ = ["Masks", "check_mask_settings", "make_masks"]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """What heat maps became. ``thresholds`` and ``class_qualities`` stand in the order of the class ids given.

    A class quality is that of :func:`diffumask_datasets.masks.quality.class_quality`, 0.0 where no pixel is left of it.
    ``quality`` in [0, 1] is the mean of ``class_qualities`` times the share of all object pixels that are not ignored.
    """

    semantic: npt.NDArray[np.uint8]  # (height, width): 0 background, class ids, 255 ignore
    instances: npt.NDArray[np.uint16]  # (height, width): 0 or an instance id
    objects: tuple[ObjectAnnotation, ...]
    thresholds: tuple[float, ...]
    threshold_curves: tuple[ThresholdCurve, ...]
    class_qualities: tuple[float, ...]
    quality: float


def make_masks(
    image: npt.NDArray[np.uint8],
    heat_maps: npt.NDArray[np.float32],
    *,
    class_ids: Sequence[int],
    settings: MaskSettings,
    affinity_maps: npt.NDArray[np.float32] | None = None,
) -> Masks:
    """Makes the masks of an image. A class that comes out empty keeps its threshold and has the quality 0.0: it is for the
    caller to judge.

    Args:
        image: uint8 (height, width, 3).
        heat_maps: float32 (classes, height, width) in [0, 1], one per class id, as large as the image or of its
            :func:`~diffumask_datasets.masks.working_size.working_size`, at which masks are made.
        class_ids: Those of the heat maps, 1..254.
        settings: Threshold, refinement and all else.
        affinity_maps: The heat maps after they were spread along an affinity, by which the threshold ``"affinity"`` is
            chosen.

    Returns:
        The masks. Without a background (``settings``) what no class keeps is 255, never 0.

    Raises:
        ShapeError: Shapes, dtypes or ranges that do not fit, NaN, class ids that repeat or are out of range, or no affinity
            maps where the threshold needs them.
        ModelError: A constant heat map.
        MissingDependencyError: DenseCRF is asked for and pydensecrf is not installed.
    """
    _check(image, heat_maps, class_ids)
    height, width = image.shape[:2]
    size = working_size(height, width)
    pixels, heat = shrink_image(image, size), shrink_maps(heat_maps, size)
    spread = None if affinity_maps is None else shrink_maps(affinity_maps, size)
    if settings.heat_normalization == "local":
        heat = np.stack([normalize_locally(one) for one in heat])
    thresholds, curves = zip(*_thresholds(pixels, heat, settings, spread), strict=True)
    raw = _unary(heat, thresholds, settings)
    refined, temperature = _refined(pixels, raw, heat, settings)
    semantic, instances = separate_instances(
        enlarged_labels(refined, (height, width)),
        enlarge(certainty(refined, temperature=temperature), (height, width)) < settings.ignore_margin,
        class_ids=class_ids,
        min_area=settings.min_area,
        part=_parting(image, settings),
    )
    if settings.background is None:
        semantic = np.where(semantic == BACKGROUND, np.uint8(IGNORE), semantic)
    objects = _objects(semantic, instances, {class_id: raw[i] for i, class_id in enumerate(class_ids, start=1)})
    qualities = _class_qualities(
        best_labels(raw), best_labels(refined), semantic, class_ids, heat, thresholds, spread, settings
    )
    return Masks(
        semantic=semantic,
        instances=instances,
        objects=objects,
        thresholds=thresholds,
        threshold_curves=curves,
        class_qualities=qualities,
        quality=float(np.mean(qualities) * _sure_share(semantic)),
    )


def _check(image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32], class_ids: Sequence[int]) -> None:
    height, width, _ = check_array("image", image, shape=("height", "width", 3), dtype="uint8")
    if not class_ids or len(set(class_ids)) < len(class_ids) or not all(1 <= i <= MAX_CLASS_ID for i in class_ids):
        raise ShapeError(
            f"class_ids: expected one or more different numbers in 1..{MAX_CLASS_ID}, got {list(class_ids)}"
        )
    working = working_size(height, width)
    size = working if heat_maps.shape[1:] == working else (height, width)
    check_array("heat_maps", heat_maps, shape=(len(class_ids), *size), dtype="float32")
    for class_id, heat_map in zip(class_ids, heat_maps, strict=True):
        check_heat_map(heat_map, name=f"heat map of class id {class_id}")


def _thresholds(
    image: npt.NDArray[np.uint8],
    heat_maps: npt.NDArray[np.float32],
    settings: MaskSettings,
    affinity_maps: npt.NDArray[np.float32] | None,
) -> list[tuple[float, ThresholdCurve]]:
    if isinstance(settings.threshold, float):
        return [(settings.threshold, ThresholdCurve())] * len(heat_maps)
    found: list[tuple[float, ThresholdCurve]] = THRESHOLDS.make(settings.threshold)(image, heat_maps, affinity_maps)
    return found


def _unary(
    heat_maps: npt.NDArray[np.float32], thresholds: Sequence[float], settings: MaskSettings
) -> npt.NDArray[np.float32]:
    """What refinement starts from; without a background no label but the classes has a chance."""
    made = (hard_probabilities if settings.unary == "hard" else label_probabilities)(heat_maps, thresholds)
    return made if settings.background else without_background(made)


def _refined(
    image: npt.NDArray[np.uint8],
    raw: npt.NDArray[np.float32],
    heat_maps: npt.NDArray[np.float32],
    settings: MaskSettings,
) -> tuple[npt.NDArray[np.float32], float]:
    """Label probabilities after refinement, and the temperature at which they can be believed."""
    if settings.refinement is None:
        return raw, 1.0
    refined, temperature = REFINEMENTS.make(settings.refinement)(image, raw, heat_maps)
    check_array("the refined probabilities", refined, shape=raw.shape, dtype="float32")
    return (refined if settings.background else without_background(refined)), temperature


def _parting(image: npt.NDArray[np.uint8], settings: MaskSettings) -> Part | None:
    """What takes objects of one class apart where they touch."""
    if not settings.split_touching:
        return None
    if not isinstance(settings.refinement, SamRefinement):
        return lambda mask, box: part_touching(mask)
    # torch is loaded only where a segmenter is used.
    from diffumask_datasets.masks.promptable import load_segmenter
    from diffumask_datasets.masks.sam_instances import part_by_segmenter

    segmenter = load_segmenter(settings.refinement.model, settings.refinement.revision)
    return functools.partial(part_by_segmenter, image=image, segmenter=segmenter)


def check_mask_settings(settings: MaskSettings) -> None:
    """Refuses, before any work, a threshold or refinement that cannot be used.

    Raises:
        RecipeError: one cannot be imported or has no such parameters.
        ModelError: the model of a refinement takes no prompts.
    """
    if not isinstance(settings.threshold, float):
        THRESHOLDS.make(settings.threshold)
    if settings.refinement is not None:
        REFINEMENTS.make(settings.refinement)
    if isinstance(settings.refinement, SamRefinement):
        from diffumask_datasets.masks.promptable_cost import SMALLER, tell_cost

        remedy = f"{SMALLER}, and refinement=densecrf needs none"
        tell_cost(settings.refinement.model, settings.refinement.revision, remedy=remedy)


def _objects(
    semantic: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint16],
    probabilities: dict[int, npt.NDArray[np.float32]],
) -> tuple[ObjectAnnotation, ...]:
    categories, scores = [], []
    full = {
        class_id: enlarge(probabilities[class_id], semantic.shape) for class_id in np.unique(semantic[instances > 0])
    }
    for instance_id in range(1, int(instances.max()) + 1):
        mask = instances == instance_id
        categories.append(int(semantic[mask][0]))
        scores.append(min(1.0, float(full[categories[-1]][mask].mean())))
    return describe_objects(instances, categories=categories, scores=scores)


def _class_qualities(
    raw_labels: npt.NDArray[np.intp],
    refined_labels: npt.NDArray[np.intp],
    semantic: npt.NDArray[np.uint8],
    class_ids: Sequence[int],
    heat_maps: npt.NDArray[np.float32],
    thresholds: Sequence[float],
    affinity_maps: npt.NDArray[np.float32] | None,
    settings: MaskSettings,
) -> tuple[float, ...]:
    """Quality of each class; 0.0 for one of which no pixel is left."""
    spread = None if affinity_maps is None else affinity_labels(affinity_maps)
    return tuple(
        class_quality(
            raw_labels == index,
            refined_labels == index,
            heat_map=heat_map,
            threshold=threshold,
            affinity_mask=None if spread is None else spread == index,
            fills=settings.background is None,
        )
        if np.any(semantic == class_id)
        else 0.0
        for index, (class_id, heat_map, threshold) in enumerate(zip(class_ids, heat_maps, thresholds, strict=True), 1)
    )


def _sure_share(semantic: npt.NDArray[np.uint8]) -> float:
    covered = np.count_nonzero(semantic)
    return 1.0 - np.count_nonzero(semantic == IGNORE) / covered if covered else 0.0
