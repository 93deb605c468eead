"""What a training sees at each position: item k follows from (data, settings, k) alone, so that a resumed training goes on
exactly where it would have been."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from diffumask_datasets.augmentation.pipeline import augmented
from diffumask_datasets.augmentation.scene import Origin, Scene
from diffumask_datasets.augmentation.transform import RowPool
from diffumask_datasets.errors import DataError
from diffumask_datasets.segmentation.class_check import class_ids
from diffumask_datasets.segmentation.labelled import read_example, translated
from diffumask_datasets.segmentation.models import inputs_of
from diffumask_datasets.segmentation.preprocessing import Jitter, Preprocessing
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import SOURCE, Mixture

__all__ = ["TrainingItems", "TrainingStream", "collated"]

Item = dict[str, Any]
"""``pixel_values`` (3, H, W), ``labels`` int64 (H, W) and ``sample_id``."""

_JITTER, _ORDER = 1, 2
"""Purposes of random draws: each has a stream of its own."""

LATEST = 64
"""Rows of a stream, the last ones read, that may lend each other pixels: enough for the largest grid of splicing."""


class _Maker:
    def __init__(self, mixture: Mixture, settings: TrainingSettings, preprocessing: Preprocessing) -> None:
        self.mixture, self.settings, self.preprocessing = mixture, settings, preprocessing

    def item(self, row: Mapping[str, Any], position: int, lenders: RowPool) -> Item:
        """The item made of ``row``, and of others of ``lenders`` where an augmentation takes them."""
        settings, scene = self.settings, self._scene(row)
        if settings.augment:
            others = functools.partial(self._others, lenders)
            key = f"training/{position}"
            classes = self.mixture.classes[1:]
            scene = augmented(scene, settings.augment, seed=settings.seed, key=key, others=others, classes=classes)
        rng = np.random.default_rng([settings.seed, _JITTER, position])
        jitter = Jitter.drawn(rng, scale=settings.scale, flip=settings.flip, colour=settings.colour)
        return {
            "pixel_values": self.preprocessing.pixels(scene.image, jitter),
            "labels": self.preprocessing.labels(scene.label, jitter),
            "sample_id": str(row["sample_id"]),
        }

    def _scene(self, row: Mapping[str, Any]) -> Scene:
        """In the class ids of the model; nobody asks for instances."""
        example = read_example(row, self.mixture.colours[row[SOURCE]])
        label = translated(example, self.mixture.tables[row[SOURCE]])
        return Scene(example.image, label, np.zeros(label.shape, dtype=np.int32), origins=(Origin(quality=1.0),))

    def _others(self, lenders: RowPool, count: int, rng: np.random.Generator) -> list[Scene]:
        return [self._scene(lenders[int(place)]) for place in rng.integers(len(lenders), size=count)]


class TrainingItems(Dataset[Item]):
    """The items of a whole training over map-style rows: epoch after epoch, each in an order of its own."""

    def __init__(self, mixture: Mixture, settings: TrainingSettings, preprocessing: Preprocessing) -> None:
        self.rows = mixture.rows
        self._maker = _Maker(mixture, settings, preprocessing)
        self._length = settings.steps * settings.accumulate * settings.batch_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Item:
        epoch, place = divmod(position, len(self.rows))
        index = int(_order(self._maker.settings.seed, epoch, len(self.rows))[place])
        return self._maker.item(self.rows[index], position, self.rows)


class TrainingStream(IterableDataset[Item]):
    """The items of a training over a stream, read again where it ends. ``unseen`` are the class ids that none showed."""

    def __init__(self, mixture: Mixture, settings: TrainingSettings, preprocessing: Preprocessing) -> None:
        self.rows = mixture.rows
        self.unseen = set(class_ids(mixture.classes))
        self._maker = _Maker(mixture, settings, preprocessing)

    def __iter__(self) -> Iterator[Item]:
        latest: deque[Mapping[str, Any]] = deque(maxlen=LATEST)
        position = 0
        while True:
            before = position
            for row in self.rows:
                latest.append(row)
                item = self._maker.item(row, position, latest)
                self.unseen -= set(torch.bincount(item["labels"].flatten()).nonzero().flatten().tolist())
                yield item
                position += 1
            if position == before:
                raise DataError("the stream to train on has no rows: check its split")


def collated(items: Sequence[Item], *, model_type: str) -> dict[str, Any]:
    """A batch as a model of that family takes it, with the ``sample_ids`` that are in it."""
    pixels = torch.stack([item["pixel_values"] for item in items])
    labels = torch.stack([item["labels"] for item in items])
    return {**inputs_of(model_type, pixels, labels), "sample_ids": [item["sample_id"] for item in items]}


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)
