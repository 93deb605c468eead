"""What a model family declares. Everything else, from loading to recording, is shared (``diffusion.py``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffumask_datasets.attention.layout import CROSS, Layout, TextTokens
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.diffusion.text import Text
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Blocks", "Defaults", "Family", "Layers", "guidance", "guidance_alone"]

Pipeline = Any
"""A diffusers pipeline; the library carries no types."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The attention modules of a diffusion transformer, all on one token grid.

    ``pattern`` matches their names inside the denoiser in full; a token covers ``patch`` × ``patch`` latents (None: what
    the denoiser's configuration says).
    """

    pattern: str
    patch: int | None = None

    def __call__(self, pipeline: Pipeline, denoiser: Any, height: int, width: int) -> dict[str, Grid]:
        """Name → (height, width) in tokens for an image of ``height`` × ``width`` pixels."""
        unit = self.unit(pipeline, denoiser)
        grid = (height // unit, width // unit)
        return {name: grid for name, _ in denoiser.named_modules() if re.fullmatch(self.pattern, name)}

    def unit(self, pipeline: Pipeline, denoiser: Any) -> int:
        """Pixels to a token's side; sizes are multiples of it."""
        return int(pipeline.vae_scale_factor) * int(self.patch or denoiser.config.patch_size)


Layers = Blocks | Any


def guidance(recipe: Recipe, images: int) -> dict[str, Any]:
    """Classifier-free guidance with a negative prompt: the arguments that most pipelines take."""
    return {"guidance_scale": recipe.guidance_scale, "negative_prompt": [recipe.negative_prompt] * images}


def guidance_alone(recipe: Recipe, images: int) -> dict[str, Any]:
    """A guidance scale that is an input of the denoiser: no second pass and no negative prompt."""
    return {"guidance_scale": recipe.guidance_scale}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What suits a model: steps, guidance, and the side of an image in pixels (None: as the configuration says)."""

    num_inference_steps: int
    guidance_scale: float
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """How to read the attention of one model family.

    ``name`` and ``pipelines`` (classes of diffusers) say which models belong to it. ``layers`` finds the modules of the
    ``denoiser`` (an attribute of the pipeline) in which the image attends to the text, ``text`` the tokens of a class term
    among those that the denoiser is given as ``text_argument``, ``layout`` both in the attention's sequence.
    ``self_attention`` finds the modules in which the image attends to itself, or says why none can be read; None where
    that happens in joint attention, and so in ``layers``. ``arguments`` makes the
    pipeline's guidance arguments of a recipe and the number of images; ``fixed`` are more arguments of the call.
    ``dtype`` is the precision on an accelerator. Which rows or calls are conditional is not declared but seen:
    those whose text is what the pipeline's ``encode_prompt`` made of the prompt.
    ``defaults`` are for recipes that say nothing; without them those of the pipeline's call hold.
    """

    name: str
    pipelines: tuple[str, ...]
    layers: Layers
    self_attention: Layers | str | None = None
    text: Text | Callable[[Pipeline, Sequence[Prompt]], list[TextTokens]] = field(default_factory=Text)
    layout: Layout = CROSS
    denoiser: str = "transformer"
    text_argument: str = "encoder_hidden_states"
    arguments: Callable[[Recipe, int], dict[str, Any]] = guidance
    fixed: dict[str, Any] = field(default_factory=dict)
    dtype: str = "bfloat16"
    defaults: Defaults | None = None

    @property
    def self_layers(self) -> Layers | str:
        """What finds the modules in which the image attends to itself, or why there are none."""
        if self.self_attention is None:
            return "its family declares no self-attention" if self.layout.order == "cross" else self.layers
        return self.self_attention
