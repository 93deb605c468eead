"""Noise learning: masks that a segmenter trained on the other samples does not confirm (DiffuMask, section 3.4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.curation.agreement import SampleAgreement
from diffumask_datasets.curation.folds import fold_executor
from diffumask_datasets.errors import RecipeError

__all__ = ["EPOCHS", "NOISE_TRAINING", "cross_validated_agreements", "noise_training"]

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


def noise_training(
    samples: int, *, folds: int, epochs: int = EPOCHS, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Chooses the settings that train each fold.

    Args:
        samples: The number of samples of all folds.
        folds: The number of folds.
        epochs: How often each sample is seen.
        changes: Settings on top of :data:`NOISE_TRAINING`.

    Returns:
        Fields of :class:`~diffumask_datasets.segmentation.settings.TrainingSettings`.
    """
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
) -> list[SampleAgreement]:
    """Compares each row with what a segmenter predicts that was trained on the other folds; several folds at once.

    Args:
        rows: A map-style dataset with ``image``, ``label`` and class names.
        folds: The number of folds.
        folder: Where the segmenters lie: a fold that is trained is not trained again, and an interrupted one goes on.
        seed: Deals the rows to folds.
        progress: Called with the number of folds that are done, in any thread.
        **training: Fields of :class:`~diffumask_datasets.segmentation.settings.TrainingSettings`.

    Returns:
        The agreement of each row.

    Raises:
        RecipeError: Fewer than two folds, or fewer samples than two a fold.
        ModelError, TrainingError: As :func:`diffumask_datasets.segmentation.training.train`.
    """
    if folds < 2 or len(rows) < 2 * folds:
        raise RecipeError(f"noise learning takes 2 or more folds of 2 or more samples; got {folds} of {len(rows)}")
    fold_of = np.random.default_rng(seed).permutation(len(rows)) % folds
    found: dict[int, SampleAgreement] = {}
    done = itertools.count(1)
    with closing(fold_executor(rows, fold_of, folder, {"seed": seed, **training})) as executor:
        begun = [executor.submit(fold, lambda _: progress(next(done))) for fold in range(folds)]
        for judged in begun:
            found |= judged.result()
    return [found[row] for row in range(len(rows))]
