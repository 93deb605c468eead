"""A trained segmenter: images in, semantic masks out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from diffumask_datasets.errors import ModelError, TrainingError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.out_of_memory import names_the_knob
from diffumask_datasets.segmentation.labelled import Pixels
from diffumask_datasets.segmentation.models import class_names, load_model, probabilities, scores
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
        for score, image in self._seen(scores, images, batch_size):
            yield _resized(score, image).argmax(dim=0).to(torch.uint8).cpu().numpy().astype(np.uint8, copy=False)

    def probabilities(self, images: Iterable[Pixels], *, batch_size: int = 8) -> Iterator[npt.NDArray[np.float32]]:
        """The probability of each class at each pixel of each image, in order: float32 (classes, height, width).

        They are the mean over the image and its mirror image.

        Raises:
            TrainingError: the memory ran out.
        """
        for found, image in self._seen(_on_both_sides, images, batch_size):
            yield _resized(found, image).cpu().numpy()

    def _seen(
        self, how: Callable[[PreTrainedModel, Tensor], Tensor], images: Iterable[Pixels], batch_size: int
    ) -> Iterator[tuple[Tensor, Pixels]]:
        """What ``how`` gives (classes, rows, columns) for each image, at the model's own grid."""
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            with (
                model_lock,
                names_the_knob(TrainingError, functools.partial(_memory_advice, batch)),
                torch.inference_mode(),
            ):
                found = how(
                    self.model, torch.stack([self.preprocessing.pixels(image) for image in batch]).to(self.device)
                )
            yield from zip(found, batch, strict=True)


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


def _resized(found: Tensor, image: Pixels) -> Tensor:
    # One image at a time: 150 classes at 1024x2048 take over a gigabyte.
    size = (image.shape[0], image.shape[1])
    return functional.interpolate(found[None].float(), size=size, mode="bilinear", align_corners=False)[0]


def _on_both_sides(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    """Mean probability over the images and their mirror images."""
    mirrored = probabilities(model, pixels.flip(-1)).flip(-1)
    return torch.stack([probabilities(model, pixels), mirrored]).mean(dim=0)


def _memory_advice(images: Sequence[Pixels]) -> str:
    height, width, _ = images[0].shape
    smaller = f"take --batch-size {len(images) // 2}" if len(images) > 1 else "only another --device has more"
    return f"predicting {len(images)} images of {height}x{width} at once: {smaller}"
