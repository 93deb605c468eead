"""What the spine costs: capture against plain generation, laziness, import, identity. Run by ``make bench-spine``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.harness import paired_ratio, run

CLASSES = ["car", "boat", "tree", "house", "mushroom"]
BATCH = 4


PARTS = ("capture", "laziness", "import", "identity", "default")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    recipe = prepare(Recipe.of(classes=CLASSES))
    rounds = 5 if quick else 11
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "capture": lambda: {**_capture_time(recipe, rounds=rounds), **_capture_memory()},
        "laziness": _laziness,
        "import": lambda: _import_time(rounds=rounds),
        "identity": lambda: _identity(recipe, 8 if quick else 32),
        "default": lambda: _default_speedup(16 if quick else 150),
    }
    return {figure: value for part in chosen for figure, value in parts[part]().items()}


def _toybox() -> DiffusersModel:
    diffusion_model = load_model("toybox")
    assert isinstance(diffusion_model, DiffusersModel)
    return diffusion_model


def _requests(recipe: Recipe) -> list[GenerationRequest]:
    return [GenerationRequest(prompt_for(recipe, index), seed=index) for index in range(BATCH)]


def _capture_time(recipe: Recipe, *, rounds: int) -> dict[str, float]:
    diffusion_model, requests = _toybox(), _requests(recipe)
    with_capture, plain = (
        lambda: diffusion_model.generate(requests, recipe),
        lambda: diffusion_model._run(requests, recipe),
    )
    with_capture()
    ratio, spread = paired_ratio(with_capture, plain, rounds=rounds)
    return {"capture_time_ratio": ratio, "capture_time_ratio_spread": spread}


def _capture_memory() -> dict[str, float]:
    plain, short, long = (_peak_mb(*mode) for mode in (("plain", 20), ("capture", 20), ("capture", 80)))
    return {
        "capture_memory_ratio": short / plain,
        "capture_memory_mb": short - plain,
        "memory_ratio_80_to_20_steps": long / short,
    }


def _peak_mb(mode: str, steps: int) -> float:
    """Peak memory of a fresh process that generates one batch."""
    code = f"from tests.benchmarks.bench_spine import generate_once; generate_once({mode!r}, {steps})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def generate_once(mode: str, steps: int) -> None:
    recipe = prepare(Recipe.of(classes=CLASSES, num_inference_steps=steps))
    diffusion_model, requests = _toybox(), _requests(recipe)
    if mode == "capture":
        diffusion_model.generate(requests, recipe)
    else:
        diffusion_model._run(requests, recipe)
    # Not getrusage: its maximum is handed down from the parent process, which has held a model by now.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def _laziness() -> dict[str, float]:
    from datasets import load_dataset

    generated = 0
    generate = DiffusersModel.generate

    def count(self: DiffusersModel, requests: list[GenerationRequest], recipe: Recipe) -> object:
        nonlocal generated
        generated += len(requests)
        return generate(self, requests, recipe)

    DiffusersModel.generate = count  # type: ignore[method-assign, assignment]
    try:
        with tempfile.TemporaryDirectory() as folder:
            stream = load_dataset("diffumask", classes=CLASSES, streaming=True, split="train", store=folder)
            next(iter(stream))
    finally:
        DiffusersModel.generate = generate  # type: ignore[method-assign]
    return {"first_sample_generations": generated}


def _import_time(*, rounds: int) -> dict[str, float]:
    ours, theirs = (
        lambda: subprocess.run([sys.executable, "-c", "import diffumask_datasets"], check=True),
        lambda: subprocess.run([sys.executable, "-c", "import datasets"], check=True),
    )
    ratio, spread = paired_ratio(ours, theirs, rounds=rounds)
    return {"import_time_ratio": ratio, "import_time_ratio_spread": spread}


def _default_speedup(count: int) -> dict[str, float]:
    """The command without options against ``--workers 1``, starts of the programs included."""
    one, default = (_generate_seconds(count, *options) for options in (("--workers", "1"), ()))
    return {"default_speedup": one / default, "default_images_per_second": count / default}


def _generate_seconds(count: int, *options: str) -> float:
    command = [sys.executable, "-m", "diffumask_datasets", "generate", *CLASSES, "--num-samples", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        paths = ["--output", f"{folder}/ds", "--store", f"{folder}/store"]
        subprocess.run([*command, *paths, *options], check=True, capture_output=True)
        return time.perf_counter() - started


def _identity(recipe: Recipe, count: int) -> dict[str, float]:
    started = time.perf_counter()
    labels = {size: _labels(recipe, count, size) for size in (1, 4, 8)}
    seconds = (time.perf_counter() - started) / (3 * count)
    worst = min(_iou(one, other) for size in (4, 8) for one, other in zip(labels[1], labels[size], strict=True))
    return {"worst_iou_across_batch_sizes": worst, "seconds_per_labelled_image": seconds}


def _labels(recipe: Recipe, count: int, batch_size: int) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        generator = GeneratedSamples(recipe, Runtime(batch_size=batch_size, store=Path(folder)))
        return [decode_label(row["label"]) for _, row in generator.rows(0, count)]


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    """Mean IoU over the values that either mask has."""
    values = np.union1d(one, other)
    return float(
        np.mean(
            [((one == value) & (other == value)).sum() / ((one == value) | (other == value)).sum() for value in values]
        )
    )


if __name__ == "__main__":
    run("spine", measure, parts=PARTS, keeps=True)
