"""Noise learning: masks that a segmenter trained on the other samples does not confirm (DiffuMask, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.sample import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from diffumask_datasets.curation.segmenter import SegmenterSettings

__all__ = ["agreement_floors", "class_agreements", "cross_validated_agreements", "doubtful"]

Images = Sequence[npt.NDArray[np.uint8]]

SPREADS = 4.0
"""How many spreads under the class's middle an agreement may lie: 2.7 standard deviations of a normal distribution."""

LEAST_GAP = 0.1
"""Agreements this close to the middle are never doubted."""

FLOOR_SAMPLES = 5
"""A class with fewer samples than this shares the floor of all classes."""


def cross_validated_agreements(
    images: Images,
    labels: Images,
    *,
    classes: int,
    folds: int,
    settings: SegmenterSettings,
    progress: Callable[[int], None] = lambda fold: None,
) -> list[dict[int, float]]:
    """For each sample, class id → IoU of its mask with what a segmenter sees that was trained on the other folds.

    Raises:
        RecipeError: fewer than two folds, or fewer samples than folds.
        ModelError: as :func:`diffumask_datasets.curation.segmenter.fit_segmenter`.
    """
    from diffumask_datasets.curation.segmenter import fit_segmenter, predict_labels

    if folds < 2 or len(images) < 2 * folds:
        raise RecipeError(f"noise learning takes 2 or more folds of 2 or more samples; got {folds} of {len(images)}")
    fold_of = np.random.default_rng(settings.seed).permutation(len(images)) % folds
    found: list[dict[int, float]] = [{} for _ in images]
    for fold in range(folds):
        inside = np.flatnonzero(fold_of != fold).tolist()
        model = fit_segmenter(
            [images[k] for k in inside], [labels[k] for k in inside], classes=classes, settings=settings
        )
        for k in np.flatnonzero(fold_of == fold).tolist():
            found[k] = class_agreements(predict_labels(model, images[k], side=settings.side), labels[k])
        progress(fold + 1)
    return found


def class_agreements(predicted: npt.NDArray[np.uint8], label: npt.NDArray[np.uint8]) -> dict[int, float]:
    """Class id → IoU of both masks (height, width), for the classes of ``label``; pixels that it ignores do not count."""
    known = label != IGNORE
    agreements = {}
    for class_id in sorted({int(value) for value in np.unique(label)} - {BACKGROUND, IGNORE}):
        mine, other = label == class_id, (predicted == class_id) & known
        agreements[class_id] = float(np.count_nonzero(mine & other) / np.count_nonzero(mine | other))
    return agreements


def agreement_floors(agreements: Sequence[Mapping[int, float]], *, drop_share: float | None = None) -> dict[int, float]:
    """Class id → the agreement under which a mask is doubted.

    ``drop_share`` α doubts that share of each class, as the paper does with α = 0.7. Without it the floor lies
    :data:`SPREADS` spreads under the middle of the class, the spread being the median distance of the better half from the
    middle: damaged masks sit in the worse half and move neither as long as they are the minority.

    Raises:
        RecipeError: a share that is not in [0, 1).
    """
    if drop_share is not None and not 0 <= drop_share < 1:
        raise RecipeError(f"drop_share lies in [0, 1), got {drop_share}")
    by_class: dict[int, list[float]] = {}
    for sample in agreements:
        for class_id, agreement in sample.items():
            by_class.setdefault(class_id, []).append(agreement)
    everything = [agreement for values in by_class.values() for agreement in values]
    floors = {}
    for class_id, own in by_class.items():
        values = np.array(own if len(own) >= FLOOR_SAMPLES else everything)
        floors[class_id] = _floor(values) if drop_share is None else float(np.quantile(values, drop_share))
    return floors


def doubtful(
    agreements: Mapping[int, float], floors: Mapping[int, float], names: Sequence[str]
) -> tuple[str, float] | None:
    """Why the mask of a sample is not confirmed, with its worst agreement; None where every class is. ``names`` are those
    of the class ids 1, 2, …"""
    missed = [(agreement, class_id) for class_id, agreement in agreements.items() if agreement < floors[class_id]]
    if not missed:
        return None
    agreement, class_id = min(missed)
    return (
        f"{names[class_id - 1]!r}: IoU {agreement:.2f} with a segmenter trained on the other samples, "
        f"under {floors[class_id]:.2f}",
        agreement,
    )


def _floor(values: npt.NDArray[np.float64]) -> float:
    middle = float(np.median(values))
    spread = float(np.median(values[values >= middle] - middle))
    return max(0.0, middle - max(SPREADS * spread, LEAST_GAP))
