"""What one GPU does in eight minutes: labelled images of models of published sizes, and what masks cost beside generating.

Weights are random, as neither cost depends on them. The sections stand in the order of what they tell; each is written as
soon as it is done, and one that would not fit in the time that is left is named and left out.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation import model as loaded
from diffumask_datasets.generation.batch_size import best_batch_size
from diffumask_datasets.generation.engines.devices import mask_workers_of
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import Runtime
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.gpu_models import ARCHITECTURES, DTYPE, Architecture, save_random, save_segmenter
from tests.benchmarks.gpu_throughput import capture_figures, refine_seconds, throughput_figures
from tests.benchmarks.harness import run

BUDGET = 480.0
"""Seconds of all sections together."""

COSTS = {"sd15": 80.0, "sdxl": 140.0, "flux": 200.0, "sam": 60.0}
"""About how long each section takes; how they compare is what counts as soon as one is done."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Where it runs and how long: rounds of each comparison, seconds of each throughput, images refined alone."""

    device: str = "cuda"
    rounds: int = 3
    seconds: float = 20.0
    refined: int = 6

    @property
    def dtype(self) -> str | None:
        """That of a GPU."""
        return None if self.device == "cpu" else DTYPE


def measure(quick: bool, chosen: Sequence[str]) -> Iterator[Mapping[str, float]]:
    if not torch.cuda.is_available():
        raise SystemExit("bench-gpu: torch sees no GPU")
    effort = Effort(rounds=1, seconds=5.0, refined=2) if quick else Effort()
    by_name = {one.name: partial(architecture_figures, one, effort=effort) for one in ARCHITECTURES}
    parts = {**by_name, "sam": partial(sam_figures, ARCHITECTURES[0], save_segmenter, effort=effort)}
    return within(BUDGET, {name: parts[name] for name in COSTS if name in chosen})


def within(
    budget: float, sections: Mapping[str, Callable[[Path], Mapping[str, float]]]
) -> Iterator[Mapping[str, float]]:
    """The figures of each section that fits in the time that is left, at the pace of those before it."""
    started, done = time.monotonic(), 0.0
    for name, section in sections.items():
        elapsed = time.monotonic() - started
        needs = COSTS[name] * (elapsed / done if done else 1)
        if elapsed + needs > budget:
            print(
                f"{name}: left out, as it takes about {needs:.0f} s and {budget - elapsed:.0f} s are left", flush=True
            )
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                yield {f"{name}_{figure}": number for figure, number in section(Path(folder)).items()}
        except (ModelError, torch.OutOfMemoryError) as error:
            print(f"{name}: left out: {error}", flush=True)
        done += COSTS[name]
        _forget_models()


def architecture_figures(architecture: Architecture, folder: Path, *, effort: Effort) -> dict[str, float]:
    """What a model of this size does: the cost of masks in one batch, the default batch size, throughput with it.

    Args:
        architecture: Its pipeline, size and steps.
        folder: An empty one.
        effort: Where and how long.

    Returns:
        Figure → number.
    """
    recipe = _recipe(architecture, folder, effort)
    # First, and in a process of its own: it asks what is free.
    batch_size = best_batch_size(recipe, device=effort.device, dtype=effort.dtype, samples=None)
    runtime = _runtime(folder, effort, batch_size)
    return {
        "best_batch": batch_size,
        **capture_figures(recipe, runtime, images=min(batch_size, architecture.images), rounds=effort.rounds),
        **throughput_figures(recipe, runtime, seconds=effort.seconds),
        "refine_seconds": refine_seconds(recipe, runtime, images=effort.refined),
    }


def sam_figures(
    architecture: Architecture, save: Callable[[Path], Path], folder: Path, *, effort: Effort
) -> dict[str, float]:
    """The same throughput where a promptable segmenter refines the masks, on the same GPU.

    Args:
        architecture: What generates the images.
        save: Writes the segmenter to a folder.
        folder: An empty one.
        effort: Where and how long.

    Returns:
        Figure → number.
    """
    refinement = {"kind": "sam", "model": str(save(folder / "segmenter"))}
    recipe = _recipe(architecture, folder, effort, refinement=refinement)
    runtime = _runtime(folder, effort, min(architecture.images, 4))
    return {
        **throughput_figures(recipe, runtime, seconds=effort.seconds),
        "refine_seconds": refine_seconds(recipe, runtime, images=effort.refined),
    }


def _recipe(architecture: Architecture, folder: Path, effort: Effort, **fields: Any) -> Recipe:
    model = save_random(architecture, folder / "model", effort.device)
    _forget_models()
    side = architecture.side
    shape = {"height": side, "width": side, "num_inference_steps": architecture.steps, "max_attempts": 1}
    return prepare(Recipe.of(classes=["car", "dog"], model=str(model), **shape, **fields))


def _runtime(folder: Path, effort: Effort, batch_size: int) -> Runtime:
    """As the command has it by default."""
    return Runtime(batch_size, effort.device, effort.dtype, folder / "store", mask_workers_of(effort.device, None))


def _forget_models() -> None:
    """Who comes next is not to find them in the GPU's memory."""
    loaded.load_checked_model.cache_clear()
    loaded._load.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    run("gpu", measure, parts=tuple(COSTS), keeps=True)
