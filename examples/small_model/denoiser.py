"""What a model to train must offer, and what both kinds share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPTokenizer

__all__ = ["Denoiser", "draw_times"]


class Denoiser(Protocol):
    """A text encoder and a denoiser that are trained, averaged and saved together: a ``torch.nn.Module``."""

    def prepare(self, device: torch.device) -> None:
        """Moves the network to ``device`` and makes it ready for training."""

    def ground(self, classes: Sequence[tuple[str, ...]], tokenizer: CLIPTokenizer) -> None:
        """From here on the loss also teaches attention to tell classes apart, each called by its words.

        Raises:
            ModelError: a network or words that this cannot be done with.
        """

    def loss(
        self, latents: Tensor, tokens: Tensor, generator: torch.Generator, *, words_only: float, withheld: Tensor
    ) -> Tensor:
        """The loss of a batch.

        Args:
            latents: clean latents (N, channels, height, width).
            tokens: token ids (N, length).
            generator: the source of all randomness, on the CPU.
            words_only: part of the rows in which the end tokens, which sum the caption up, are hidden, so that the words
                themselves have to be read where they matter.
            withheld: which captions (N,) are withheld from the network, and teach its attention; none without ``ground``.
        """

    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> DiffusionPipeline:
        """The model as a pipeline of diffusers' own class."""

    def compile(self) -> None:
        """As of ``torch.nn.Module``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of ``torch.nn.Module``."""

    def state_dict(self) -> dict[str, Any]:
        """As of ``torch.nn.Module``."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """As of ``torch.nn.Module``."""

    def eval(self) -> object:
        """As of ``torch.nn.Module``."""


def draw_times(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels (count,) from 0 to 1: a quarter uniform, the others logit-normal around 0.575.

    From 0.4 to 0.8 it is decided which of two objects is which: shown a drawn scene at 0.25 the model finishes it as two
    objects, from 0.55 on it often generates both with parts of each other.
    """
    middle = torch.sigmoid(0.3 + 0.8 * torch.randn(count, generator=generator))
    even = torch.rand(count, generator=generator)
    pick = torch.rand(count, generator=generator) < 0.25
    return torch.where(pick, even, middle)
