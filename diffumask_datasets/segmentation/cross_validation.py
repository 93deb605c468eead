"""Train on some rows, predict the others: what noise learning asks a segmenter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.segmentation.labelled import read_example
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import ANY_HARDWARE, Hardware, train

__all__ = ["train_and_predict"]


def train_and_predict(
    rows: Any,
    *,
    train_on: Sequence[int],
    predict_on: Sequence[int],
    folder: Path,
    hardware: Hardware = ANY_HARDWARE,
    **settings: Any,
) -> Iterator[npt.NDArray[np.float32]]:
    """Trains a segmenter on some rows and predicts others.

    Args:
        rows: A map-style dataset with ``image``, ``label`` and class names.
        train_on: The numbers of the rows that are learned from.
        predict_on: The numbers of the rows that are predicted.
        folder: Where the model lies: asked again for the same, it is not trained again, and an interrupted training goes on.
        hardware: Device and loader processes.
        **settings: Fields of :class:`TrainingSettings` but ``sources``.

    Returns:
        The probabilities of the class ids in each row of ``predict_on``, in order, float32 (classes, height, width).

    Raises:
        DataError: ``rows`` lack a column, or ``train_on`` is empty.
        TrainingError: The training cannot go on.
    """
    data = labelled_of(rows)
    chosen = dataclasses.replace(data, rows=data.rows.select(list(train_on)))
    fields = TrainingSettings.of(sources=({"dataset": "rows"},), **settings)
    segmenter = train(fields, folder, data=[chosen], hardware=hardware)
    images = (read_example(row).image for row in data.rows.select(list(predict_on)))
    return segmenter.probabilities(images, batch_size=fields.batch_size)
