"""A trained segmenter: images in, semantic masks out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from diffumask_datasets.errors import ModelError
from diffumask_datasets.segmentation.labelled import Pixels
from diffumask_datasets.segmentation.memory import names_the_knob
from diffumask_datasets.segmentation.models import class_names, load_model, scores
from diffumask_datasets.segmentation.preprocessing import Preprocessing

__all__ = ["Segmenter", "device_of"]

DEFAULT_SIDE = 512
"""Pixels of the sides an image is brought to where a checkpoint does not say."""


class Segmenter:
    """A model with its preprocessing. ``classes`` are its names in the order of their ids."""

    def __init__(self, model: PreTrainedModel, preprocessing: Preprocessing, *, device: str | None = None) -> None:
        self.device = device_of(device)
        self.model = model.to(self.device).eval()
        self.preprocessing = preprocessing
        self.classes = class_names(model)

    @classmethod
    def load(cls, model: str | Path, *, device: str | None = None) -> Segmenter:
        """The segmenter that ``diffumask train`` wrote, or any other that transformers loads.

        Raises:
            ModelError: no such model, or not a segmenter, or no such device.
        """
        network = load_model(str(model))
        preprocessing = Preprocessing.saved(str(model)) or Preprocessing(DEFAULT_SIDE, DEFAULT_SIDE)
        return cls(network, preprocessing, device=device)

    def predict(self, images: Iterable[Pixels], *, batch_size: int = 8) -> Iterator[Pixels]:
        """The mask of each image uint8 (height, width, 3), in order: class ids, uint8 (height, width).

        Raises:
            TrainingError: the memory ran out.
        """
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            with names_the_knob(functools.partial(_memory_advice, batch)):
                masks = self._predict_batch(batch)
            yield from masks

    @torch.inference_mode()
    def _predict_batch(self, images: Sequence[Pixels]) -> list[Pixels]:
        pixels = torch.stack([self.preprocessing.pixels(image) for image in images]).to(self.device)
        return [
            _mask(score, image.shape[0], image.shape[1])
            for score, image in zip(scores(self.model, pixels), images, strict=True)
        ]


def device_of(name: str | None) -> torch.device:
    """The device of that name; without one, the best there is of cuda, mps and cpu.

    Raises:
        ModelError: no such device, or this machine has none.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    try:
        device = torch.device(name or next(kind for kind, there in has.items() if there))
    except RuntimeError as error:
        raise ModelError(f"unknown device {name!r}; e.g. 'cpu', 'cuda' or 'cuda:1'") from error
    if not has.get(device.type, True):
        raise ModelError(f"device {name!r}: torch sees none on this machine; leave it out, or give 'cpu'")
    return device


def _mask(score: Tensor, height: int, width: int) -> Pixels:
    # One image at a time: 150 classes at 1024x2048 take over a gigabyte.
    full = functional.interpolate(score[None].float(), size=(height, width), mode="bilinear", align_corners=False)
    return full[0].argmax(dim=0).to(torch.uint8).cpu().numpy().astype(np.uint8, copy=False)


def _memory_advice(images: Sequence[Pixels]) -> str:
    height, width, _ = images[0].shape
    smaller = f"take --batch-size {len(images) // 2}" if len(images) > 1 else "only another --device has more"
    return f"predicting {len(images)} images of {height}x{width} at once: {smaller}"
