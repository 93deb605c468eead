"""How many processes make samples fastest: one a GPU, or as many as cores, free memory and the work that is left allow."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path

from diffumask_datasets.diffusion.registry import is_registered_here
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.engines.devices import gpu_count
from diffumask_datasets.generation.model_size import parameter_count
from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["best_workers", "check_workers", "cores", "free_memory"]

logger = logging.getLogger(__name__)

FEWEST_ON_GPUS = 4
"""Samples; a second GPU must load the model first."""

START_SECONDS = 4.0
"""What loading libraries in processes of their own costs before they can load the model, beside this process, which then
need not load it."""

STEP_SECONDS, OTHER_SECONDS = 0.11, 0.15
"""A guided denoising step of the toybox on a core of the same machine, and all else that one of its samples takes."""

STEP_PARAMETERS, STEP_PIXELS = 12_000_000, 128 * 128
"""The toybox's; a step costs in proportion to both."""

PROCESS_MEMORY = 800_000_000
"""Bytes of a process beside its model: 0.7 GB with the toybox, which has 12 million parameters."""

MEMORY_OF_PARAMETERS = 1.5
"""Weights and what runs through them, over the weights alone."""

_GROUP = Path("/sys/fs/cgroup")
"""The limits of a container, where there are some."""


def best_workers(
    recipe: Recipe, *, device: str | None, dtype: str | None, samples: int, tasks: int, steps: float | None = None
) -> int:
    """The number of processes that make samples fastest; one line of the log says so where the machine has room for several.

    It is one in a process that multiprocessing or ``num_proc`` has started: those share the machine already.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.
        samples: Samples to make.
        tasks: Pieces that they can be made in, such as batches.
        steps: Guided denoising steps of a sample; None for those of the recipe.

    Returns:
        A number from 1 up.
    """
    if recipe.model == "planted" or tasks < 2 or _is_child() or is_registered_here(recipe.model, recipe.revision):
        return 1
    gpus = gpu_count() if device in (None, "cuda") else 0
    if gpus:
        workers = min(gpus, tasks) if samples >= FEWEST_ON_GPUS else 1
        return _told(workers, samples, most=gpus, where=f"each on a GPU of its own ({gpus} here)")
    if device not in (None, "cpu"):
        return 1
    parameters = parameter_count(PIPELINE.named(recipe.model, recipe.revision), variant=recipe.variant)
    if parameters is None:
        return 1
    most = max(1, min(cores(), tasks, _fitting(parameters, dtype)))
    seconds = _sample_seconds(recipe, parameters, recipe.num_inference_steps if steps is None else steps)
    workers = _first_to_end(most, tasks, seconds * samples / tasks)
    return _told(workers, samples, most=most, where=f"on {cores()} cores")


def check_workers(workers: int | None) -> None:
    """Raises RecipeError for a number of processes that makes no sense."""
    if workers is not None and workers < 1:
        raise RecipeError(f"workers: expected a number from 1 up, got {workers}")


def cores() -> int:
    """The cores that this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no group, or "max": no limit
        quota, period = map(int, (_GROUP / "cpu.max").read_text(encoding="utf-8").split())
        own = min(own, max(1, quota // period))
    return own


def free_memory() -> int:
    """Bytes that processes can take without swapping."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError, KeyError):
        limit, used = (int((_GROUP / f"memory.{name}").read_text(encoding="utf-8")) for name in ("max", "current"))
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
        free = min(free, limit - used + int(stat["inactive_file"]))  # the cache of files gives way
    return free


def _told(workers: int, samples: int, *, most: int, where: str) -> int:
    if workers > 1:
        logger.info("%d samples are made by %d processes, %s; workers=1 takes one", samples, workers, where)
    elif most > 1:
        logger.info("%d samples are made by one process: others would take longer to start than they save", samples)
    return workers


def _first_to_end(most: int, tasks: int, task_seconds: float) -> int:
    """The number of processes after which the last task ends first; the fewest of them where several do."""

    def end(workers: int) -> float:
        return (START_SECONDS if workers > 1 else 0.0) + -(-tasks // workers) * task_seconds

    return min(range(1, most + 1), key=lambda workers: (end(workers), workers))


def _sample_seconds(recipe: Recipe, parameters: int, steps: float) -> float:
    """About what a sample takes on one core; too much for large models, for which it makes no difference."""
    share = parameters / STEP_PARAMETERS * recipe.height * recipe.width / STEP_PIXELS
    return OTHER_SECONDS + STEP_SECONDS * steps * share


def _fitting(parameters: int, dtype: str | None) -> int:
    """How many processes with the model free memory carries."""
    width = 4 if dtype in (None, "float32") else 2
    return int(free_memory() // (PROCESS_MEMORY + MEMORY_OF_PARAMETERS * width * parameters))


def _is_child() -> bool:
    """Whether multiprocessing started this process, or the package of that kind which datasets uses."""
    libraries = (multiprocessing, sys.modules.get("multiprocess"))
    return any(library.parent_process() is not None for library in libraries if library)
