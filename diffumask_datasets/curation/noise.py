"""Noise learning: masks that a segmenter trained on the other samples does not confirm (DiffuMask, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = [
    "EPOCHS",
    "NOISE_TRAINING",
    "Agreement",
    "Doubt",
    "check_drop_share",
    "class_agreements",
    "class_doubts",
    "cross_validated_agreements",
    "doubts",
    "noise_training",
]

Label = npt.NDArray[np.uint8]

NOISE_TRAINING: Mapping[str, Any] = {
    "model": "upernet-small",
    "height": 96,
    "width": 96,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "scale": (0.67, 1.5),
    "colour": 0.3,
}
"""Settings of the segmenter where none are given: small and from scratch, so that nothing is downloaded."""

EPOCHS = 60
"""Passes over the samples in the training of each fold."""

SPREADS = 4.0
"""How many spreads under the class's middle an agreement may lie: 2.7 standard deviations of a normal distribution."""

LEAST_GAP = 0.2
"""Agreements this close to the middle are never doubted: a segmenter is that far off an intact mask once in a while."""

FLOOR_SAMPLES = 5
"""A class with fewer samples than this shares the floor of all classes."""

RIVAL_ODDS = 5.0
"""A class is doubted where another one is this many times as likely.

On toybox scenes with damaged masks (one fold of three) that finds every wrong class and doubts no right one; what is
likeliest alone would doubt one in twelve.
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a prediction confirms the mask of a class.

    ``iou`` is that of the mask and the predicted class. ``shape`` is that of the mask and all that is predicted to be an
    object, other classes of the image left out: a small segmenter knows an object's outline long before it knows its name.
    Over the pixels that both call an object, ``share`` of the probability is the class's, and ``rival_share`` that of
    ``rival``, the likeliest other one; the background's is left out.
    """

    iou: float
    shape: float
    share: float
    rival: int
    rival_share: float


class Doubt(NamedTuple):
    """Why a sample is not believed; ``score`` in [0, 1] is the lower the more it is doubted."""

    reason: str
    score: float


def noise_training(
    samples: int, *, folds: int, epochs: int = EPOCHS, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What trains each fold of so many samples: :data:`NOISE_TRAINING` with ``changes``, for ``epochs`` passes."""
    changes = changes or {}
    fields = {**NOISE_TRAINING, **changes}
    if "model" in changes and "learning_rate" not in changes:
        del fields["learning_rate"]  # that of the small one
    steps = round(epochs * samples * (1 - 1 / folds) / fields["batch_size"])
    return {"steps": max(1, steps), **fields}


def cross_validated_agreements(
    rows: Any,
    *,
    folds: int,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda fold: None,
    **training: Any,
) -> list[dict[int, Agreement]]:
    """For each row, class id → agreement with what a segmenter sees that was trained on the other folds.

    ``rows`` is a map-style dataset with ``image``, ``label`` and class names. ``training`` are fields of
    :class:`diffumask_datasets.segmentation.settings.TrainingSettings`. The segmenters lie in ``folder``: a fold that is
    trained is not trained again, and an interrupted one goes on.

    Raises:
        RecipeError: fewer than two folds, or fewer samples than two a fold.
        ModelError, TrainingError: as :func:`diffumask_datasets.segmentation.training.train`.
    """
    from diffumask_datasets.segmentation.cross_validation import train_and_predict

    if folds < 2 or len(rows) < 2 * folds:
        raise RecipeError(f"noise learning takes 2 or more folds of 2 or more samples; got {folds} of {len(rows)}")
    fold_of = np.random.default_rng(seed).permutation(len(rows)) % folds
    labels = rows.select_columns(["label"])  # a row of all columns would have its image decoded again
    found: list[dict[int, Agreement]] = [{} for _ in range(len(rows))]
    for fold in range(folds):
        inside, outside = (np.flatnonzero(chosen).tolist() for chosen in (fold_of != fold, fold_of == fold))
        predictions = train_and_predict(
            rows, train_on=inside, predict_on=outside, folder=folder / f"fold-{fold}", seed=seed, **training
        )
        for row, probabilities in zip(outside, predictions, strict=True):
            found[row] = class_agreements(probabilities, decode_label(labels[row]["label"]))
        progress(fold + 1)
    return found


def class_agreements(probabilities: npt.NDArray[np.float32], label: Label) -> dict[int, Agreement]:
    """Class id → agreement of the mask (height, width) with the likeliest classes, for the classes of ``label``.

    ``probabilities`` are float32 (class ids, height, width), background first. Pixels that ``label`` ignores do not count.
    """
    classes = sorted({int(value) for value in np.unique(label)} - {BACKGROUND, IGNORE})
    return {class_id: _agreement(probabilities, label, class_id, set(classes) - {class_id}) for class_id in classes}


def check_drop_share(drop_share: float) -> None:
    """Raises RecipeError for a share that is not in [0, 1)."""
    if not 0 <= drop_share < 1:
        raise RecipeError(f"drop_share lies in [0, 1), got {drop_share}")


def doubts(
    agreements: Sequence[Mapping[int, Agreement]], names: Sequence[str], *, drop_share: float | None = None
) -> list[Doubt | None]:
    """For each sample the worst of its :func:`class_doubts`, or None.

    Raises:
        RecipeError: as :func:`check_drop_share`.
    """
    found = class_doubts(agreements, names, drop_share=drop_share)
    return [min(sample.values(), key=lambda doubt: doubt.score, default=None) for sample in found]


def class_doubts(
    agreements: Sequence[Mapping[int, Agreement]], names: Sequence[str], *, drop_share: float | None = None
) -> list[dict[int, Doubt]]:
    """For each sample class id → why its mask is not confirmed. ``names`` are those of the class ids 1, 2, …

    ``drop_share`` α doubts that share of each class, those of the lowest IoU, as the paper does with α = 0.7; where fewer
    are wrong, right ones too. Without it a class is doubted where the shape agrees far less than in most samples of the
    class, or where another class is :data:`RIVAL_ODDS` times as likely. Far less means more than :data:`SPREADS` spreads
    under the middle, the spread being the median distance of the better half from the middle: damaged masks sit in the
    worse half and move neither as long as they are the minority.

    Raises:
        RecipeError: as :func:`check_drop_share`.
    """
    if drop_share is not None:
        check_drop_share(drop_share)
        ious = [{class_id: agreement.iou for class_id, agreement in sample.items()} for sample in agreements]
        floors = _floors(ious, lambda values: float(np.quantile(values, drop_share)))
        return [_under(sample, floors, names, "IoU") for sample in ious]
    shapes = [{class_id: agreement.shape for class_id, agreement in sample.items()} for sample in agreements]
    floors = _floors(shapes, _outlier_floor)
    return [
        {**_renamed(sample, names), **_under(shape, floors, names, "the object's IoU")}
        for shape, sample in zip(shapes, agreements, strict=True)
    ]


def _agreement(probabilities: npt.NDArray[np.float32], label: Label, class_id: int, others: set[int]) -> Agreement:
    mine, known = label == class_id, label != IGNORE
    predicted = probabilities.argmax(axis=0)
    seen = predicted != BACKGROUND
    # What is taken for a class that the image has belongs to that one.
    around = seen & (mine | ((label == BACKGROUND) & ~np.isin(predicted, list(others))))
    found, confirmed = (predicted == class_id) & known, mine & seen
    shares = _shares(probabilities[:, confirmed])
    rival = int(np.argmax(np.where(np.arange(len(shares)) == class_id, 0, shares)))
    return Agreement(
        iou=int(np.count_nonzero(mine & found)) / int(np.count_nonzero(mine | found)),
        shape=int(np.count_nonzero(confirmed)) / int(np.count_nonzero(mine | around)),
        share=float(shares[class_id]),
        rival=rival,
        rival_share=float(shares[rival]),
    )


def _shares(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of (class ids, pixels), each class's part of the whole; the background has none."""
    mass = probabilities.sum(axis=1, dtype=np.float64)
    mass[BACKGROUND] = 0
    total = mass.sum()
    return np.asarray(mass / total if total else mass)


def _floors(
    values: Sequence[Mapping[int, float]], floor: Callable[[npt.NDArray[np.float64]], float]
) -> dict[int, float]:
    by_class: dict[int, list[float]] = {}
    for sample in values:
        for class_id, value in sample.items():
            by_class.setdefault(class_id, []).append(value)
    everything = [value for own in by_class.values() for value in own]
    return {
        class_id: floor(np.array(own if len(own) >= FLOOR_SAMPLES else everything))
        for class_id, own in by_class.items()
    }


def _outlier_floor(values: npt.NDArray[np.float64]) -> float:
    middle = float(np.median(values))
    spread = float(np.median(values[values >= middle] - middle))
    return max(0.0, middle - max(SPREADS * spread, LEAST_GAP))


def _under(
    values: Mapping[int, float], floors: Mapping[int, float], names: Sequence[str], what: str
) -> dict[int, Doubt]:
    return {
        class_id: Doubt(
            f"{names[class_id - 1]!r}: {what} {value:.2f} with a segmenter trained on the other samples, "
            f"under {floors[class_id]:.2f}",
            value,
        )
        for class_id, value in values.items()
        if value < floors[class_id]
    }


def _renamed(sample: Mapping[int, Agreement], names: Sequence[str]) -> dict[int, Doubt]:
    return {
        class_id: Doubt(
            f"{names[class_id - 1]!r}: a segmenter trained on the other samples takes the object for "
            f"{names[agreement.rival - 1]!r} ({agreement.rival_share:.0%} against {agreement.share:.0%})",
            agreement.share,
        )
        for class_id, agreement in sample.items()
        if agreement.rival_share > RIVAL_ODDS * agreement.share
    }
