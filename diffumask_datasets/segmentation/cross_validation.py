"""Train on some rows, predict the others: what noise learning asks a segmenter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.segmentation.labelled import read_example
from diffumask_datasets.segmentation.models import SMALL
from diffumask_datasets.segmentation.segmenter import device_of
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import ANY_HARDWARE, Hardware, train

__all__ = ["train_and_predict", "trains_on_one_thread"]


def train_and_predict(
    rows: Any,
    *,
    train_on: Sequence[int],
    predict_on: Sequence[int],
    folder: Path,
    hardware: Hardware = ANY_HARDWARE,
    **settings: Any,
) -> Iterator[npt.NDArray[np.float32]]:
    """Trains a segmenter on some rows and predicts others, once it is asked for the first.

    On the CPU a small segmenter is trained on one thread, wherever that is, so that its weights are the same in a process of
    its own.

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
    with single_thread() if trains_on_one_thread(fields.model, hardware) else nullcontext():
        segmenter = train(fields, folder, data=[chosen], hardware=hardware)
        images = (read_example(row).image for row in data.rows.select(list(predict_on)))
        yield from segmenter.probabilities(images, batch_size=fields.batch_size)


def trains_on_one_thread(model: str, hardware: Hardware = ANY_HARDWARE) -> bool:
    """Whether :func:`train_and_predict` trains this model on one CPU thread, so that several are best trained at once."""
    return model in SMALL and device_of(hardware.device).type == "cpu"
