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

FEWEST_SAMPLES = 4
"""Two processes on two cores are faster from here on: loading libraries once more takes as long as 1.4 toybox samples."""

PROCESS_MEMORY = 800_000_000
"""Bytes of a process beside its model: 0.7 GB with the toybox, which has 12 million parameters."""

MEMORY_OF_PARAMETERS = 1.5
"""Weights and what runs through them, over the weights alone."""

_GROUP = Path("/sys/fs/cgroup")
"""The limits of a container, where there are some."""


def best_workers(recipe: Recipe, *, device: str | None, dtype: str | None, samples: int, tasks: int) -> int:
    """The number of processes that make samples fastest; one line of the log says so where it is more than one.

    It is one in a process that multiprocessing or ``num_proc`` has started: those share the machine already.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.
        samples: Samples to make.
        tasks: Pieces that they can be made in, such as batches.

    Returns:
        A number from 1 up.
    """
    if recipe.model == "planted" or _is_child() or min(samples // FEWEST_SAMPLES, tasks - 1) < 1:
        return 1
    if is_registered_here(recipe.model, recipe.revision):
        return 1
    gpus = gpu_count() if device in (None, "cuda") else 0
    if not gpus and device not in (None, "cpu"):
        return 1
    most = gpus or min(cores(), _fitting(recipe, dtype))
    workers = max(1, min(most, tasks))
    if workers > 1:
        where = f"each on a GPU of its own ({gpus} here)" if gpus else f"on {cores()} cores"
        logger.info("%d samples are made by %d processes, %s; workers=1 takes one", samples, workers, where)
    return workers


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


def _fitting(recipe: Recipe, dtype: str | None) -> int:
    """How many processes with the model free memory carries; one where its size is unknown."""
    parameters = parameter_count(PIPELINE.named(recipe.model, recipe.revision), variant=recipe.variant)
    if parameters is None:
        return 1
    width = 4 if dtype in (None, "float32") else 2
    return int(free_memory() // (PROCESS_MEMORY + MEMORY_OF_PARAMETERS * width * parameters))


def _is_child() -> bool:
    """Whether multiprocessing started this process, or the package of that kind which datasets uses."""
    libraries = (multiprocessing, sys.modules.get("multiprocess"))
    return any(library.parent_process() is not None for library in libraries if library)
