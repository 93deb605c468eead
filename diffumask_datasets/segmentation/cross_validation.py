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
    """What a segmenter trained on the rows ``train_on`` sees in the rows ``predict_on``, in order.

    ``rows`` is a map-style dataset with ``image``, ``label`` and class names. Of each row come the probabilities of the same
    class ids, float32 (classes, height, width). ``settings`` are those of :class:`TrainingSettings` but ``sources``. The
    model lies in ``folder``: asked again for the same, it is not trained again, and an interrupted training goes on.

    Raises:
        DataError: ``rows`` lack a column, or ``train_on`` is empty.
        TrainingError: the training cannot go on.
    """
    data = labelled_of(rows)
    chosen = dataclasses.replace(data, rows=data.rows.select(list(train_on)))
    fields = TrainingSettings.of(sources=({"dataset": "rows"},), **settings)
    segmenter = train(fields, folder, data=[chosen], hardware=hardware)
    images = (read_example(row).image for row in data.rows.select(list(predict_on)))
    return segmenter.probabilities(images, batch_size=fields.batch_size)
