"""The largest batch of images that fits in the memory of a GPU, found by trying."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.generation.engines.devices import MOST_IMAGES
from diffumask_datasets.generation.model import load_recipe_model
from diffumask_datasets.generation.workers import Progress, Work
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.out_of_memory import is_out_of_memory
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["largest_batch", "measure"]

_STEPS = 2
"""Denoising steps of an attempt: the first needs as much memory as all of them."""

_USABLE = 0.9
"""Share of the free memory that an attempt may take: later batches find it in pieces."""

_UNSHARED = 0.95
"""Share of a GPU's memory that is free where nobody else uses it."""


def largest_batch(attempt: Callable[[int], object], *, most: int = MOST_IMAGES) -> int:
    """The largest power of two, at most ``most``, at which ``attempt`` does not run out of memory; 1 is not tried."""
    size = 1
    while 2 * size <= most and _fits(attempt, 2 * size):
        size *= 2
    return size


def measure(recipe: Recipe, device: str | None, dtype: str | None) -> Work[None, tuple[int, bool]]:
    """Makes the work of the process that measures.

    Args:
        recipe: A prepared recipe.
        device: torch's name of a GPU; None for the smallest there is.
        dtype: torch's name of the dtype, None for that of the device.

    Returns:
        The work, which gives the largest batch, and whether nobody else used the GPU.
    """

    def work(_: None, report: Progress) -> tuple[int, bool]:
        name = _name(device)
        place = torch.device(name or "cuda")
        free, total = _memory(place)
        steps = min(_STEPS, recipe.num_inference_steps)
        few = recipe.model_copy(update={"num_inference_steps": steps, "attention_timesteps": (0, 1000)})
        with model_lock, single_thread():
            model = load_recipe_model(few, name, dtype)
            model.check(few)

            def attempt(size: int) -> None:
                requests = [GenerationRequest(prompt_for(few, index), seed=index) for index in range(size)]
                with _at_most(_USABLE * free, place):
                    model.generate(requests, few)

            return largest_batch(attempt), free >= _UNSHARED * total

    return work


def _fits(attempt: Callable[[int], object], size: int) -> bool:
    try:
        attempt(size)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return True


def _name(device: str | None) -> str | None:
    """The device, or the smallest GPU: None where that is the first, as the model is then loaded by that name anyway."""
    if device not in (None, "cuda"):
        return device
    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    smallest = sizes.index(min(sizes))
    return f"cuda:{smallest}" if smallest else device


def _memory(place: torch.device) -> tuple[int, int]:
    """Free and total bytes."""
    free, total = torch.cuda.mem_get_info(place)
    return free, total


@contextmanager
def _at_most(limit: float, place: torch.device) -> Iterator[None]:
    """Within the block, holding more than ``limit`` bytes at once is running out of memory."""
    torch.cuda.reset_peak_memory_stats(place)
    yield
    peak = torch.cuda.max_memory_allocated(place)
    if peak > limit:
        raise torch.OutOfMemoryError(f"out of memory: {peak} bytes taken, {limit:.0f} allowed")
