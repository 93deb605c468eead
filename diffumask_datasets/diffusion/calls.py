"""What every family asks of a pipeline before and while it paints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["call_arguments", "check_size", "check_timesteps"]


def call_arguments(requests: Sequence[GenerationRequest], recipe: Recipe) -> dict[str, Any]:
    """The arguments that all pipelines take: prompts, size, steps and noise, for images (batch, height, width, 3)."""
    return {
        "prompt": [request.prompt.text for request in requests],
        "height": recipe.height,
        "width": recipe.width,
        "num_inference_steps": recipe.num_inference_steps,
        # Drawn on the CPU, one generator a row: the noise is the same on every device and in every batch.
        "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in requests],
        "output_type": "np",
    }


def check_size(name: str, size: int, unit: int) -> None:
    """Raises RecipeError, with the nearest size that fits, unless ``size`` is a multiple of ``unit`` pixels."""
    if size % unit:
        nearest = max(unit, round(size / unit) * unit)
        raise RecipeError(
            f"{name} {size} cannot be painted by this model: it takes multiples of {unit}; the nearest is {nearest}"
        )


def check_timesteps(scheduler: Any, recipe: Recipe) -> None:
    """Raises RecipeError where the steps are too many, or none of them is among the timesteps to be read."""
    most = scheduler.config.num_train_timesteps
    if recipe.num_inference_steps > most:
        raise RecipeError(f"num_inference_steps is {recipe.num_inference_steps}; this model has only {most}")
    if scheduler.config.get("use_dynamic_shifting"):
        return  # the timesteps depend on the image's size as the pipeline alone knows it; the recorder refuses later
    own = type(scheduler).from_config(scheduler.config)
    own.set_timesteps(recipe.num_inference_steps)
    steps = own.timesteps.tolist()
    first, last = recipe.attention_timesteps
    if not any(first <= step <= last for step in steps):
        raise RecipeError(
            f"attention_timesteps [{first}, {last}] holds none of the {len(steps)} timesteps from {min(steps):g} "
            f"to {max(steps):g}; widen it or raise num_inference_steps"
        )
