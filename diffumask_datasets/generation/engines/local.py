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
from diffumask_datasets.generation.sample_generator import Runtime, SampleGenerator
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
    """Makes the store hold what the samples of ``shards`` are made of; gives the attempts that were rejected, by reason.

    ``made`` is called once with each index, in any order.

    Raises:
        WorkerError: a process that dies again and again at the same place.
        StoreError, ModelError and others that a process raised.
    """
    runs = runs_of(shards, workers=workers, batch_size=runtime.batch_size)
    arguments = [
        (recipe, dataclasses.replace(runtime, device=device)) for device in devices_of(runtime.device, workers)
    ]
    rejected: Counter[str] = Counter()
    with WorkerPool[Shard, "Counter[str]"](_fill_in_process, arguments) as crew:
        report = _once(made)
        futures = [crew.submit(run, report) for run in runs]
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


def _fill_in_process(recipe: Recipe, runtime: Runtime) -> Work:
    generator = SampleGenerator(recipe, runtime)

    def work(run: Shard, report: Progress) -> Counter[str]:
        generator.rejected.clear()
        for index in generator.fill(*run):
            report(index)
        return Counter(generator.rejected)

    return work
