"""Decides which masks to flag, from how far a segmenter trained on the other samples confirms each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from diffumask_datasets.curation.agreement import Agreement, SampleAgreement
from diffumask_datasets.errors import RecipeError

__all__ = ["NoiseFlag", "check_drop_share", "flag_classes", "flag_noisy"]

ByClass = Mapping[int, float]

SPREADS = 4.0
"""How many spreads under the class's middle an agreement may lie: 2.7 standard deviations of a normal distribution."""

LEAST_GAP = 0.2
"""Agreements this close to the middle are never flagged: a segmenter is that far off an intact mask once in a while."""

CLAIM_GAP = 0.25
"""The same for claims; chosen on one half of the street photographs of ``make bench-photos``."""

FLOOR_SAMPLES = 5
"""A class with fewer samples than this shares the floor of all classes."""

RUNNER_UP_ODDS = 5.0
"""A class is flagged where another one is this many times as likely.

On toybox scenes with damaged masks (one fold of three) that finds every wrong class and flags no right one; what is
likeliest alone would flag one in twelve.
"""


class NoiseFlag(NamedTuple):
    """Why a mask is flagged; ``score`` in [0, 1] is the lower the surer that is."""

    reason: str
    score: float


def check_drop_share(drop_share: float) -> None:
    """Raises RecipeError for a share that is not in [0, 1)."""
    if not 0 <= drop_share < 1:
        raise RecipeError(f"drop_share lies in [0, 1), got {drop_share}")


def flag_noisy(
    agreements: Sequence[SampleAgreement], names: Sequence[str], *, drop_share: float | None = None
) -> list[NoiseFlag | None]:
    """Flags the samples that are to be dropped.

    Args:
        agreements: Those of all samples.
        names: The names of the class ids 1, 2, …
        drop_share: As for :func:`flag_classes`.

    Returns:
        For each sample the worst of its :func:`flag_classes`, or None.

    Raises:
        RecipeError: As :func:`check_drop_share`.
    """
    found = flag_classes(agreements, names, drop_share=drop_share)
    return [min(sample.values(), key=lambda flag: flag.score, default=None) for sample in found]


def flag_classes(
    agreements: Sequence[SampleAgreement], names: Sequence[str], *, drop_share: float | None = None
) -> list[dict[int, NoiseFlag]]:
    """Flags the masks that the segmenter does not confirm.

    A mask is flagged for one of three reasons: its shape agrees far less than in most samples of the class; another class is
    :data:`RUNNER_UP_ODDS` times as likely there, and the class's own share is far lower than in most samples (a class that
    the segmenter never learned is always taken for another); or far more of a predicted class than in most samples lies in
    other masks, this one first of all. Only the last one says anything where classes cover the whole image, because without
    a background every shape agrees.

    Far less means more than :data:`SPREADS` spreads under the middle of the class, the spread being the median distance of
    the better half from the middle: damaged masks sit in the worse half and move neither as long as they are the minority.

    Args:
        agreements: Those of all samples.
        names: The names of the class ids 1, 2, …
        drop_share: Flags that share of each class instead, those of the lowest IoU, as the paper does with α = 0.7; where
            fewer are wrong, right ones too.

    Returns:
        For each sample, class id → why its mask is not confirmed.

    Raises:
        RecipeError: As :func:`check_drop_share`.
    """
    masks = [sample.masks for sample in agreements]
    if drop_share is not None:
        check_drop_share(drop_share)
        ious = _values(masks, lambda agreement: agreement.iou)
        floors = _floors(ious, lambda values: float(np.quantile(values, drop_share)))
        return [_under(sample, floors, names, "IoU") for sample in ious]
    shapes = _values(masks, lambda agreement: agreement.shape)
    shape_floors = _floors(shapes, _outlier_floor)
    share_floors = _floors(_values(masks, lambda agreement: agreement.share), _outlier_floor)
    kept = [{class_id: claim.kept for class_id, claim in sample.claims.items()} for sample in agreements]
    claim_floors = _floors(kept, lambda values: _outlier_floor(values, least_gap=CLAIM_GAP))
    return [
        {
            **_claimed(sample, claim_floors, names),
            **_renamed(sample.masks, share_floors, names),
            **_under(shape, shape_floors, names, "the object's IoU"),
        }
        for shape, sample in zip(shapes, agreements, strict=True)
    ]


def _values(masks: Sequence[Mapping[int, Agreement]], value: Callable[[Agreement], float]) -> list[ByClass]:
    return [{class_id: value(agreement) for class_id, agreement in sample.items()} for sample in masks]


def _floors(values: Sequence[ByClass], floor: Callable[[npt.NDArray[np.float64]], float]) -> dict[int, float]:
    by_class: dict[int, list[float]] = {}
    for sample in values:
        for class_id, value in sample.items():
            by_class.setdefault(class_id, []).append(value)
    everything = [value for own in by_class.values() for value in own]
    return {
        class_id: floor(np.array(own if len(own) >= FLOOR_SAMPLES else everything))
        for class_id, own in by_class.items()
    }


def _outlier_floor(values: npt.NDArray[np.float64], least_gap: float = LEAST_GAP) -> float:
    middle = float(np.median(values))
    spread = float(np.median(values[values >= middle] - middle))
    return max(0.0, middle - max(SPREADS * spread, least_gap))


def _under(values: ByClass, floors: ByClass, names: Sequence[str], what: str) -> dict[int, NoiseFlag]:
    return {
        class_id: NoiseFlag(
            f"{names[class_id - 1]!r}: {what} {value:.2f} with a segmenter trained on the other samples, "
            f"under {floors[class_id]:.2f}",
            value,
        )
        for class_id, value in values.items()
        if value < floors[class_id]
    }


def _renamed(masks: Mapping[int, Agreement], floors: ByClass, names: Sequence[str]) -> dict[int, NoiseFlag]:
    return {
        class_id: NoiseFlag(
            f"{names[class_id - 1]!r}: a segmenter trained on the other samples takes the object for "
            f"{names[agreement.runner_up - 1]!r} ({agreement.runner_up_share:.0%} against {agreement.share:.0%})",
            agreement.share,
        )
        for class_id, agreement in masks.items()
        if agreement.runner_up_share > RUNNER_UP_ODDS * agreement.share and agreement.share < floors[class_id]
    }


def _claimed(sample: SampleAgreement, floors: ByClass, names: Sequence[str]) -> dict[int, NoiseFlag]:
    found: dict[int, NoiseFlag] = {}
    # The worst claim to a mask comes last and stays.
    for class_id, claim in sorted(sample.claims.items(), key=lambda pair: pair[1].kept, reverse=True):
        if claim.kept < floors[class_id]:
            found[claim.holder] = NoiseFlag(
                f"{names[claim.holder - 1]!r}: {1 - claim.kept:.0%} of what a segmenter trained on the other samples "
                f"takes for {names[class_id - 1]!r} lies in the masks of other classes, most of it in this one; "
                f"over {1 - floors[class_id]:.0%}",
                claim.kept,
            )
    return found
