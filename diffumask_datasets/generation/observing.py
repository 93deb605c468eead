"""How a model is shown an image that exists already: at which size, with which prompt, and what is read of its attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from diffumask_datasets.attention.maps import AttentionMaps
from diffumask_datasets.attention.observation import Observation
from diffumask_datasets.attention.recorder import select_layers
from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.attention_search import TIMESTEPS
from diffumask_datasets.generation.model import load_recipe_model
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.prompt_settings import PLACE
from diffumask_datasets.recipes.recipe import DEFAULT_PROMPTS, Recipe

__all__ = ["fitting_size", "load_observer", "prompt_naming", "read_attention", "show_image", "shown_timesteps"]

LONGEST = 2
"""An image is shown in its own proportions up to this ratio of its sides; beyond it is squeezed: attention is costly."""


def fitting_size(height: int, width: int, recipe: Recipe, unit: int) -> tuple[int, int]:
    """Chooses the size at which an image is shown to a model.

    Args:
        height: Height of the image.
        width: Width of the image.
        recipe: Its size is that of the shorter side.
        unit: What the longer side is a multiple of.

    Returns:
        Height and width.
    """
    short = min(recipe.height, recipe.width)
    ratio = min(max(height, width) / min(height, width), LONGEST)
    long = max(short, round(short * ratio / unit) * unit)
    return (long, short) if height > width else (short, long)


def load_observer(recipe: Recipe, device: str | None, dtype: str | None) -> Observer:
    """Loads the model of a prepared recipe, which must be one that can be shown an image.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.

    Returns:
        The model.

    Raises:
        ModelError: it cannot be loaded, or cannot be shown an image.
    """
    model = load_recipe_model(recipe, device, dtype)
    if not isinstance(model, Observer):
        raise ModelError(
            f"the model {recipe.model!r} cannot be shown an image; take a diffusion model of docs/models.md, or "
            "give its family the method observe of diffumask_datasets.diffusion.protocol.Observer"
        )
    return model


def show_image(
    observer: Observer, image: Pixels, prompt: Prompt, *, recipe: Recipe, timesteps: Sequence[int], seed: int
) -> Observation:
    """Shows an image to the model at its :func:`fitting_size`.

    Args:
        observer: The model.
        image: uint8 (height, width, 3), of any size.
        prompt: What the image is asked for.
        recipe: Its size is that of the shorter side.
        timesteps: Training timesteps to which the image is noised.
        seed: The seed of the noise.

    Returns:
        Its attention at each timestep.

    Raises:
        As ``observe`` of :class:`~diffumask_datasets.diffusion.protocol.Observer`.
    """
    height, width = fitting_size(image.shape[0], image.shape[1], recipe, observer.unit)
    pixels = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    return observer.observe(pixels, prompt, timesteps=timesteps, seed=seed)


def read_attention(seen: Observation, recipe: Recipe) -> AttentionMaps:
    """The layers that the recipe reads, in one stack a grid.

    Raises:
        RecipeError: the recipe uses self-attention, and the model has none that can be read.
        CaptureError: no layer has one of the recipe's grids.
    """
    if recipe.uses_self_attention and not seen.affinities:
        raise recipe.without_self_attention(repr(recipe.model), "see its self-attention in docs/models.md")
    (timestep, *_) = seen.timesteps
    grids = {layer: (m.shape[1], m.shape[2]) for (layer, step), m in seen.maps.items() if step == timestep}
    layers = select_layers(grids, recipe.attention_grids, recipe.attention_layers)
    return seen.fused(
        layers,
        seen.timesteps,
        contrast=recipe.contrast,
        affinity_grids=recipe.affinity_grids if recipe.affinity == "self-attention" else None,
        attention=recipe.attention,
    )


def shown_timesteps(recipe: Recipe, asked: Sequence[int] | None = None) -> tuple[int, ...]:
    """The training timesteps to which images are noised: those asked for, or nine as far as the recipe reads them.

    Raises:
        RecipeError: one outside 0 to 999.
    """
    first, last = recipe.attention_timesteps
    chosen = tuple(sorted(set(asked))) if asked else tuple(step for step in TIMESTEPS if first <= step <= last)
    if not chosen:
        return ((first + last) // 2,)
    if not all(0 <= step < 1000 for step in chosen):
        raise RecipeError(f"timesteps: expected numbers from 0 (clean) to 999 (noise), got {list(chosen)}")
    return chosen


def prompt_naming(classes: Sequence[str], recipe: Recipe) -> Prompt:
    """The recipe's first template with these classes in its place."""
    template = next((prompt for prompt in recipe.prompts if PLACE in prompt), DEFAULT_PROMPTS[0])
    return fill(template, [noun(recipe.words_of(name)) for name in classes])
