"""The folds of noise learning: each is trained and judged by itself, here or in processes side by side."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.curation.agreement import SampleAgreement, sample_agreement
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.generation.engines.best_workers import cores, free_memory
from diffumask_datasets.generation.workers import Executor, Inline, Progress, Work, WorkerPool

__all__ = ["fold_executor"]

logger = logging.getLogger(__name__)

Agreements = dict[int, SampleAgreement]
"""By the number of the row."""

PROCESS_MEMORY, PIXEL_MEMORY = 600_000_000, 2_000
"""Bytes of a process that trains a small segmenter, and more for each pixel of a batch: 0.71 GB with 16 images of 96x96."""

WORTH_A_PROCESS = 3_000_000
"""Pixels that a fold is trained on: upernet-small takes eleven seconds for them, a process eight to start."""


def fold_executor(
    rows: Any, fold_of: npt.NDArray[np.integer], folder: Path, training: Mapping[str, Any]
) -> Executor[int, Agreements]:
    """Does folds: takes the number of one, and reports it when its rows are judged.

    Small segmenters are trained in several processes, a large one by this process with all its threads.

    Args:
        rows: A map-style dataset with ``image``, ``label`` and class names.
        fold_of: The fold of each row.
        folder: Where the segmenters lie.
        training: Fields of :class:`~diffumask_datasets.segmentation.settings.TrainingSettings`.

    Returns:
        An executor of as many processes as cores and free memory carry and the work is worth; close it.
    """
    from diffumask_datasets.segmentation.cross_validation import trains_on_one_thread

    arguments = (rows, fold_of, folder, training)
    folds = int(fold_of.max()) + 1
    batch = math.prod(int(training.get(name, 0)) for name in ("batch_size", "height", "width"))
    workers = max(1, min(folds, cores(), free_memory() // (PROCESS_MEMORY + PIXEL_MEMORY * batch)))
    pays = batch * int(training.get("steps", 0)) >= WORTH_A_PROCESS
    if workers == 1 or not pays or not trains_on_one_thread(training.get("model", "")):
        return Inline(_judge_folds, arguments)
    logger.info("%d folds are trained by %d processes, on %d cores", folds, workers, cores())
    return WorkerPool(_judge_folds, [arguments] * workers)


def _judge_folds(
    rows: Any, fold_of: npt.NDArray[np.integer], folder: Path, training: Mapping[str, Any]
) -> Work[int, Agreements]:
    from diffumask_datasets.segmentation.cross_validation import train_and_predict

    labels = rows.select_columns(["label"])  # a row of all columns would have its image decoded again

    def work(fold: int, report: Progress) -> Agreements:
        inside, outside = (np.flatnonzero(chosen).tolist() for chosen in (fold_of != fold, fold_of == fold))
        predictions = train_and_predict(
            rows, train_on=inside, predict_on=outside, folder=folder / f"fold-{fold}", **training
        )
        found = {
            row: sample_agreement(probabilities, decode_label(labels[row]["label"]))
            for row, probabilities in zip(outside, predictions, strict=True)
        }
        report(fold)
        return found

    return work
