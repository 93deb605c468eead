"""The one protocol that every model family implements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe

if TYPE_CHECKING:  # they import torch, which a process that only hands out work need not load
    from diffumask_datasets.attention.maps import AttentionMaps
    from diffumask_datasets.attention.observation import Observation

__all__ = ["DiffusionModel", "GenerationRequest", "ImageWithAttention", "Observer", "Repainter"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One image to generate. ``seed`` alone decides its noise, whatever else is in the batch."""

    prompt: Prompt
    seed: int


@dataclass(frozen=True, slots=True)
class ImageWithAttention:
    """A generated image, uint8 (height, width, 3), and the attention of its class terms."""

    image: npt.NDArray[np.uint8]
    attention: AttentionMaps


class DiffusionModel(Protocol):
    """A text-to-image model whose attention can be read."""

    def check(self, recipe: Recipe) -> None:
        """Refuses, before any work, what the model cannot generate or record.

        Raises:
            RecipeError: sizes, steps or timesteps that the model does not have.
            CaptureError: no attention layer has one of the requested grids.
        """

    def check_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Refuses, before any work, prompts whose class terms this model would not read.

        Raises:
            TokenAlignmentError: a class term is not in its prompt or would be truncated away.
        """

    def generate(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> list[ImageWithAttention]:
        """Generates one batch, in order.

        Raises:
            TokenAlignmentError: a class term is not in its prompt or was truncated away.
            CaptureError: no attention call was seen.
            ModelError: the model gave NaN.
        """


@runtime_checkable
class Observer(Protocol):
    """A model that can also read a given image: to label it, or to search which of its attention to read."""

    @property
    def unit(self) -> int:
        """Sides of an image are multiples of so many pixels."""

    def observe(
        self, image: npt.NDArray[np.uint8], prompt: Prompt, *, timesteps: Sequence[int], seed: int = 0
    ) -> Observation:
        """Noises ``image``, uint8 (height, width, 3), to each training timestep and runs the denoiser on it once, unguided.

        ``seed`` decides the noise. All attention is written down, so memory grows with layers and timesteps.

        Raises:
            RecipeError: a size that the model cannot take.
            TokenAlignmentError: a class term is not in the prompt or was truncated away.
            CaptureError: no attention call was seen.
        """


@runtime_checkable
class Repainter(Protocol):
    """A model that can also paint over a given image."""

    def repaint(
        self, image: npt.NDArray[np.uint8], request: GenerationRequest, recipe: Recipe, *, strength: float
    ) -> ImageWithAttention:
        """Noises ``image``, uint8 (height, width, 3), so far that ``strength`` of the recipe's steps lead to an image again.

        Raises:
            ModelError: diffusers has no image-to-image form of this pipeline.
            RecipeError: a size that the model cannot take.
            TokenAlignmentError: a class term is not in the prompt or was truncated away.
            CaptureError: no attention call was seen, or none at a timestep that the recipe reads.
        """
