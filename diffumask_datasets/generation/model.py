"""The diffusion model of a recipe, loaded once a process."""

from __future__ import annotations

import functools

from diffumask_datasets.diffusion.protocol import DiffusionModel
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.prompts.sources import caption_prompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import LoadSettings

__all__ = ["load_checked_model", "load_recipe_model"]


@functools.lru_cache(maxsize=1)
def load_checked_model(recipe: Recipe, device: str | None, dtype: str | None) -> DiffusionModel:
    """Loads the model of a prepared recipe and checks that it can generate what the recipe asks for.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.

    Returns:
        The model. It is kept: each shard of a stream has a generator of its own, and there may be many captions to check.

    Raises:
        As :func:`~diffumask_datasets.diffusion.registry.load_model`, and ``check`` of
        :class:`~diffumask_datasets.diffusion.protocol.DiffusionModel`.
    """
    model = load_recipe_model(recipe, device, dtype)
    model.check(recipe)
    model.check_prompts(caption_prompts(recipe))
    return model


def load_recipe_model(recipe: Recipe, device: str | None, dtype: str | None) -> DiffusionModel:
    """Loads the model of a prepared recipe, or gives the one that was loaded last if it is the same.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.

    Returns:
        The model, unchecked.

    Raises:
        As :func:`~diffumask_datasets.diffusion.registry.load_model`.
    """
    return _load(recipe.model, recipe.revision, device, dtype, LoadSettings.subset_of(recipe))


@functools.lru_cache(maxsize=1)
def _load(
    name: str, revision: str | None, device: str | None, dtype: str | None, options: LoadSettings
) -> DiffusionModel:
    return load_model(name, revision=revision, device=device, dtype=dtype, options=options)
