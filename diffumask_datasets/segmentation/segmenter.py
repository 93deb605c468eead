"""A trained segmenter: images in, semantic masks out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from diffumask_datasets.segmentation.labelled import Pixels
from diffumask_datasets.segmentation.models import class_names, load_model, scores
from diffumask_datasets.segmentation.preprocessing import Preprocessing

__all__ = ["Segmenter"]

DEFAULT_SIDE = 512
"""Pixels of the sides an image is brought to where a checkpoint does not say."""


class Segmenter:
    """A model with its preprocessing. ``classes`` are its names in the order of their ids."""

    def __init__(self, model: PreTrainedModel, preprocessing: Preprocessing, *, device: str | None = None) -> None:
        self.device = torch.device(device or best_device())
        self.model = model.to(self.device).eval()
        self.preprocessing = preprocessing
        self.classes = class_names(model)

    @classmethod
    def load(cls, model: str | Path, *, device: str | None = None) -> Segmenter:
        """The segmenter that ``diffumask train`` wrote, or any other that transformers loads.

        Raises:
            ModelError: no such model, or not a segmenter.
        """
        network = load_model(str(model))
        preprocessing = Preprocessing.saved(str(model)) or Preprocessing(DEFAULT_SIDE, DEFAULT_SIDE)
        return cls(network, preprocessing, device=device)

    def predict(self, images: Iterable[Pixels], *, batch_size: int = 8) -> Iterator[Pixels]:
        """The mask of each image uint8 (height, width, 3), in order: class ids, uint8 (height, width)."""
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            yield from self._predict_batch(batch)

    @torch.inference_mode()
    def _predict_batch(self, images: Sequence[Pixels]) -> list[Pixels]:
        pixels = torch.stack([self.preprocessing.pixels(image) for image in images]).to(self.device)
        return [
            _mask(score, image.shape[0], image.shape[1])
            for score, image in zip(scores(self.model, pixels), images, strict=True)
        ]


def best_device() -> str:
    """cuda, mps or cpu: the best there is."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _mask(score: Tensor, height: int, width: int) -> Pixels:
    # One image at a time: 150 classes at 1024x2048 take over a gigabyte.
    full = functional.interpolate(score[None].float(), size=(height, width), mode="bilinear", align_corners=False)
    return full[0].argmax(dim=0).to(torch.uint8).cpu().numpy().astype(np.uint8, copy=False)
