"""Several processes of this machine: one for each GPU, or CPU processes of one thread each.

The indices are dealt out in short runs. A process that dies is replaced, and its run goes on after what the store has.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

from diffumask_datasets.generation.engines.devices import devices_of
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.generation.workers import Progress, Work, WorkerPool
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["fill", "runs_of"]

RUNS_PER_WORKER = 8
"""Enough that workers of unequal speed end together, few enough that looking up what is there costs nothing."""

MOST_BATCHES = 64


def fill(
    recipe: Recipe, runtime: Runtime, shards: Sequence[Shard], *, workers: int, made: Callable[[int], object]
) -> Counter[str]:
    """Makes the store hold what the samples of ``shards`` are made of.

    Args:
        recipe: A prepared recipe.
        runtime: Batch size, store and mask workers of each process; its device is dealt out.
        shards: Ranges of indices.
        workers: Number of processes.
        made: Called once with each index that the store has, in any order.

    Returns:
        The attempts that were rejected, by reason.

    Raises:
        WorkerError: a process that dies again and again at the same place.
        StoreError, ModelError and others that a process raised.
    """
    runs = runs_of(shards, workers=workers, batch_size=runtime.batch_size)
    arguments = [
        (recipe, dataclasses.replace(runtime, device=device)) for device in devices_of(runtime.device, workers)
    ]
    rejected: Counter[str] = Counter()
    with WorkerPool(_fill_runs, arguments) as pool:
        report = _once(made)
        futures = [pool.submit(run, report) for run in runs]
        for future in _ended(futures):
            rejected += future.result()
    return rejected


def runs_of(shards: Sequence[Shard], *, workers: int, batch_size: int) -> list[Shard]:
    """The indices of ``shards`` cut into runs, in order, between the batches that indices always lie in."""
    total = sum(stop - start for start, stop in shards)
    batches = -(-total // (workers * RUNS_PER_WORKER * batch_size))
    length = batch_size * min(max(batches, 1), MOST_BATCHES)
    return [run for start, stop in shards for run in _cut(start, stop, length)]


def _cut(start: int, stop: int, length: int) -> Iterator[Shard]:
    while start < stop:
        end = min(start - start % length + length, stop)
        yield start, end
        start = end


def _once(made: Callable[[int], object]) -> Progress:
    """A process that took another's place reports again what it finds in the store."""
    seen: set[int] = set()
    lock = threading.Lock()

    def report(index: Any) -> None:
        with lock:
            if index not in seen:
                seen.add(index)
                made(index)

    return report


def _ended(futures: Sequence[Future[Counter[str]]]) -> Sequence[Future[Counter[str]]]:
    """All of them, or those that failed as soon as one has."""
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    return futures if not waiting else [future for future in done if future.exception()]


def _fill_runs(recipe: Recipe, runtime: Runtime) -> Work[Shard, Counter[str]]:
    samples = GeneratedSamples(recipe, runtime)

    def work(run: Shard, report: Progress) -> Counter[str]:
        samples.rejected.clear()
        for index in samples.fill(*run):
            report(index)
        return Counter(samples.rejected)

    return work
