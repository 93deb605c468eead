"""How fast a model generates labelled images by the product's own way, and what the GPU does meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.generation.model import load_checked_model
from diffumask_datasets.generation.sample_generator import SampleGenerator
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.harness import paired_ratio
from tests.benchmarks.real_memory import forget_peak, peak_megabytes

__all__ = ["capture_figures", "refine_seconds", "throughput_figures"]

MOST = 1_000_000
"""Samples; time ends it before."""


def capture_figures(recipe: Recipe, runtime: Runtime, *, images: int, rounds: int) -> dict[str, float]:
    """Seconds of generating with what masks are made of, over generating alone, in one batch.

    Args:
        recipe: A prepared recipe.
        runtime: Its device and dtype are used.
        images: The size of the batch.
        rounds: Each way once in every round.

    Returns:
        The ratio and its spread.
    """
    model: Any = load_checked_model(recipe, runtime.device, runtime.dtype)
    assert isinstance(model, DiffusersModel)
    requests = [GenerationRequest(prompt_for(recipe, index), seed=index) for index in range(images)]
    model.generate(requests, recipe)
    ratio, spread = paired_ratio(
        lambda: model.generate(requests, recipe), lambda: model._run(requests, recipe), rounds=rounds
    )
    return {"masks_time_ratio": ratio, "masks_time_ratio_spread": spread}


def refine_seconds(recipe: Recipe, runtime: Runtime, *, images: int) -> float:
    """Median seconds from the heat maps of an image to its row, by one process."""
    generator = SampleGenerator(recipe, device=runtime.device, dtype=runtime.dtype)
    generated = [generator.generate(index, [index])[0] for index in range(images)]
    seconds = []
    generator.label(generated[0])  # loads what it needs
    for image in generated:
        started = time.perf_counter()
        generator.label(image)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def throughput_figures(recipe: Recipe, runtime: Runtime, *, seconds: float) -> dict[str, float]:
    """Labelled images an hour once all is loaded, and how much of the time the GPU waits.

    Args:
        recipe: A prepared recipe.
        runtime: Its store holds none of the samples.
        seconds: How long it lasts, and at least two batches.

    Returns:
        ``overlap_ratio`` is the time of all over that of generating: 1 where masks are made entirely meanwhile.
    """
    size = runtime.batch_size
    first = size * -(-max(size, runtime.mask_workers) // size)
    with GeneratedSamples(recipe, runtime) as samples, _clocked_generating() as generating:
        list(samples.fill(0, first))  # the model is loaded, the mask workers have started
        forget_peak()
        generating.clear()
        with _idle_shares() as idle:
            started = time.perf_counter()
            for count, _ in enumerate(samples.fill(first, first + MOST), start=1):
                took = time.perf_counter() - started
                if count % size == 0 and count >= 2 * size and took > seconds:
                    break
    figures = {"labelled_per_hour": 3600 * count / took, "overlap_ratio": took / sum(generating)}
    if torch.cuda.is_available():
        figures["peak_memory_gb"] = peak_megabytes() / 1024
    return figures | ({"gpu_idle_share": float(np.mean(idle))} if idle else {})


@contextmanager
def _clocked_generating() -> Iterator[list[float]]:
    """The seconds of each batch that is generated within the block."""
    found: list[float] = []
    generate = SampleGenerator.generate

    def clocked(self: SampleGenerator, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return generate(self, *arguments)
        finally:
            found.append(time.perf_counter() - started)

    with patch.object(SampleGenerator, "generate", clocked):
        yield found


@contextmanager
def _idle_shares() -> Iterator[list[float]]:
    """Shares of time in which no kernel ran on the GPU, five times a second; none where there is no driver to ask."""
    program = shutil.which("nvidia-smi")
    found: list[float] = []
    if program is None or not torch.cuda.is_available():
        yield found
        return
    command = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200", "--id=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield found
        process.terminate()
        output, _ = process.communicate()
    found += [1 - float(line) / 100 for line in output.splitlines() if line.strip().isdigit()]
