"""What more workers, overlap, a cluster and a large store cost and bring. Run by ``make bench-scale``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from diffumask_datasets.generation import batches
from diffumask_datasets.generation.batches import label_images
from diffumask_datasets.generation.engines import local
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.sample_generator import GeneratedImage, LabelledImage, SampleGenerator
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.generation.store import FOLDER_SIZE, SUFFIX, SampleStore
from diffumask_datasets.generation.workers import Progress, Work
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.chaos import clean_cluster_runs, clean_runs, full_disk_is_said, read_only_store_is_said
from tests.benchmarks.harness import run
from tests.benchmarks.stage_times import stage_seconds

CLASSES = ["car", "boat", "tree", "house", "mushroom"]

ROUNDS = 5
"""The fastest counts: others use the machine too."""

Fill = Callable[[Path, int, Callable[[Made], object]], object]


PARTS = ("slow", "stages", "throughput", "overlap", "lookups", "index", "chaos", "memory")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    toybox = prepare(Recipe.of(classes=CLASSES))
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, float]]] = {
            # First: a model that is loaded stays loaded, and this one is told how slow to be when it is.
            "slow": lambda: _slow_refinement(folder, 20 if quick else 100),
            "stages": lambda: _stages(toybox, 4 if quick else 20),
            "throughput": lambda: _throughput(toybox, folder, 16 if quick else 60),
            "overlap": lambda: _overlap("overlap_ratio", toybox, folder, 6 if quick else 40),
            "lookups": lambda: _lookups(folder, 500 if quick else 5000),
            "index": lambda: _index(20_000 if quick else 1_000_000),
            "chaos": lambda: _chaos(folder, 2, 2) if quick else _chaos(folder, 20, 10),
            "memory": lambda: _memory(300 if quick else 5000),
        }
        for part in chosen:
            found = parts[part]()
            # It takes long: what is known is said.
            print(found, flush=True)
            figures |= found
    return figures


def _stages(recipe: Recipe, count: int) -> dict[str, float]:
    spent = stage_seconds(recipe, count)
    figures = {f"cpu_seconds_{stage.replace(' ', '_')}": seconds for stage, seconds in spent.items()}
    return {**figures, "cpu_seconds_refine_512": _refining_at_512(count)}


def _refining_at_512(count: int) -> float:
    recipe = prepare(Recipe.of(classes=CLASSES[:2], model="planted", height=512, width=512))
    generator = SampleGenerator(recipe)
    images = [generator.generate(index, [index])[0] for index in range(count)]
    started = time.process_time()
    for image in images:
        generator.label(image)
    return (time.process_time() - started) / count


def _chaos(folder: Path, runs: int, cluster_runs: int) -> dict[str, float]:
    local, clustered = clean_runs(folder, runs), clean_cluster_runs(folder, cluster_runs)
    return {
        "full_disk_said": full_disk_is_said(folder),
        "read_only_store_said": read_only_store_is_said(folder),
        "chaos_runs": runs + cluster_runs,
        "chaos_runs_clean": local + clustered,
        "chaos_runs_on_ray": cluster_runs,
        "chaos_runs_on_ray_clean": clustered,
    }


def _throughput(recipe: Recipe, folder: Path, count: int) -> dict[str, float]:
    """Images per second once the models are loaded, so that the count does not decide."""

    def workers(number: int) -> Fill:
        return lambda store, stop, made: local.fill(
            recipe, Runtime(store=store), [(0, stop)], workers=number, made=made
        )

    # By default Ray lets its workers run only where nobody else wants the CPU.
    os.environ.update(RAY_worker_niceness="0")

    def ray(store: Path, stop: int, made: Callable[[Made], object]) -> object:
        from diffumask_datasets.generation.engines.ray import fill

        return fill(recipe, Runtime(store=store), [(0, stop)], workers=2, address=None, made=made)

    one, two = _rate(workers(1), folder / "one", count // 2), _rate(workers(2), folder / "two", count)
    clustered = _rate(ray, folder / "ray", count)
    import ray as library

    library.shutdown()
    return {
        "images_per_second_1_worker": one,
        "images_per_second_2_workers": two,
        "images_per_second_ray_2_actors": clustered,
        "two_workers_speedup": two / one,
        "ray_vs_workers": clustered / two,
    }


def _rate(fill: Fill, store: Path, count: int) -> float:
    times: list[float] = []
    lock = threading.Lock()

    def made(_: Made) -> None:
        with lock:
            times.append(time.perf_counter())

    fill(store, count, made)
    # Not from the start, which is what loading the model makes it: by a quarter all have begun, whatever the engine.
    warm = count // 4
    return (len(times) - 1 - warm) / (times[-1] - times[warm])


def _slow_refinement(folder: Path, count: int) -> dict[str, float]:
    """Both stages sleep, so that the pipeline alone is measured, also where others use the machine."""
    fields = {"classes": CLASSES[:2], "model": "planted", "height": 48, "width": 64, "refinement": None}
    os.environ["DIFFUMASK_PLANTED_SECONDS"] = "0.3"
    try:
        with patch.object(batches, "label_images", label_slowly):
            return _overlap("overlap_ratio_slow_refinement", prepare(Recipe.of(**fields)), folder, count)
    finally:
        del os.environ["DIFFUMASK_PLANTED_SECONDS"]


def label_slowly(recipe: Recipe) -> Work[GeneratedImage, LabelledImage]:
    label = label_images(recipe)

    def work(image: GeneratedImage, report: Progress) -> LabelledImage:
        time.sleep(0.5)
        return label(image, report)

    return work


def _overlap(name: str, recipe: Recipe, folder: Path, count: int) -> dict[str, float]:
    """Wall time of an image with one labeller against the longer of its two stages alone."""
    generator = SampleGenerator(recipe)
    label = batches.label_images(recipe)
    label(generator.generate(0, [0])[0], print)
    started = time.perf_counter()
    images = [generator.generate(index, [index])[0] for index in range(count)]
    generating = time.perf_counter() - started
    started = time.perf_counter()
    for image in images:
        label(image, print)
    refining = time.perf_counter() - started
    with GeneratedSamples(recipe, Runtime(store=folder / name, mask_workers=1)) as samples:
        list(samples.fill(0, 1))  # the mask worker has started
        started = time.perf_counter()
        list(samples.fill(1, count + 1))
        wall = time.perf_counter() - started
    alone = {f"{name}_painting_seconds": generating / count, f"{name}_refining_seconds": refining / count}
    return {name: wall / max(generating, refining), **alone}


def _memory(count: int) -> dict[str, float]:
    """Growth of a process's memory between a tenth of its samples and all of them."""
    code = f"from tests.benchmarks.bench_scale import fill_and_weigh; fill_and_weigh({count})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = map(float, done.stdout.split())
    return {"memory_samples": count, "memory_growth_5000": late / early}


def fill_and_weigh(count: int) -> None:
    fields = {"classes": ["car", "boat"], "model": "planted", "height": 48, "width": 64, "refinement": None}
    with tempfile.TemporaryDirectory() as folder:
        generator = GeneratedSamples(prepare(Recipe.of(**fields)), Runtime(store=Path(folder)))
        for number, _ in enumerate(generator.fill(0, count), start=1):
            if number in (count // 10, count):
                print(_resident_mb())


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def _lookups(folder: Path, count: int) -> dict[str, float]:
    store = SampleStore(folder / "lookups", "abc")
    payload = np.random.default_rng(0).bytes(40_000)  # an entry of the toybox
    for index in range(count):
        store.put(index, payload)
    return {"lookups_per_second": count / min(_look_up_all(store, count) for _ in range(ROUNDS))}


def _look_up_all(store: SampleStore, count: int) -> float:
    started = time.perf_counter()
    for index in range(count):
        store.get(index)
    return time.perf_counter() - started


def _index(count: int) -> dict[str, float]:
    """Which of ``count`` samples are there, asked by a fresh process of a store of empty entries."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for first in range(0, count, FOLDER_SIZE):
            shelf = Path(folder) / "abc" / f"{first // FOLDER_SIZE:05d}"
            shelf.mkdir(parents=True)
            for index in range(first, first + FOLDER_SIZE):
                (shelf / f"{index:08d}{SUFFIX}").touch()
        code = f"from tests.benchmarks.bench_scale import open_index; open_index({folder!r}, {count})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ("index_open_seconds", "index_open_cpu_seconds", "index_open_mb")
    return {"index_entries": count, **dict(zip(names, map(float, done.stdout.split()), strict=True))}


def open_index(folder: str, count: int) -> None:
    before, started, computed = _resident_mb(), time.perf_counter(), time.process_time()
    present = SampleStore(Path(folder), "abc").present(0, count)
    print(time.perf_counter() - started, time.process_time() - computed, _resident_mb() - before)
    assert len(present) == count


if __name__ == "__main__":
    run("scale", measure, parts=PARTS, keeps=True)
