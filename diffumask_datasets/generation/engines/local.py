"""Several processes of this machine: one for each GPU, or CPU processes of one thread each.

The indices are dealt out in short runs. A process that dies is replaced, and its run goes on after what the store has.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

from diffumask_datasets.diffusion.registry import is_registered_here
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.engines.best_workers import best_workers
from diffumask_datasets.generation.engines.devices import devices_of
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.generation.workers import Progress, Setup, Work, WorkerPool
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["do_all", "fill", "fill_at_best", "runs_of"]

Task = TypeVar("Task")
Result = TypeVar("Result")

SHARE = 2
"""A run is this part of what a worker would get of the rest: half of it. The first are long, so that looking up what is
there costs nothing; the last are single batches, so that workers of unequal speed end together."""

MOST_BATCHES = 64


def fill(
    recipe: Recipe, runtime: Runtime, shards: Sequence[Shard], *, workers: int, made: Callable[[Made], object]
) -> Counter[str]:
    """Makes the store hold what the samples of ``shards`` are made of.

    Args:
        recipe: A prepared recipe.
        runtime: Batch size, store and mask workers of each process; its device is dealt out.
        shards: Ranges of indices.
        workers: Number of processes.
        made: Called once for each sample, as soon as the store has it, in any order.

    Returns:
        The attempts that were rejected, by reason.

    Raises:
        RecipeError: a model of a family that is registered in this process alone.
        WorkerError: a process that dies again and again at the same place.
        StoreError, ModelError and others that a process raised.
    """
    runs = runs_of(shards, workers=workers, batch_size=runtime.batch_size)
    arguments = [
        (recipe, dataclasses.replace(runtime, device=device)) for device in devices_of(runtime.device, workers)
    ]
    return sum(do_all(recipe, _fill_runs, arguments, runs, report=_once(made)), Counter())


def fill_at_best(
    recipe: Recipe, runtime: Runtime, shards: Sequence[Shard], *, made: Callable[[Made], object]
) -> Counter[str] | None:
    """As :func:`fill`, in as many processes as the machine carries and the work is worth.

    Args:
        recipe: As for :func:`fill`.
        runtime: As for :func:`fill`.
        shards: As for :func:`fill`.
        made: As for :func:`fill`.

    Returns:
        The rejected attempts, or None where one process, this one, does it best and nothing was done.

    Raises:
        As :func:`fill`.
    """
    with GeneratedSamples(recipe, dataclasses.replace(runtime, mask_workers=0)) as samples:
        missing = Counter(len(batch.indices) for batch in samples.batches_to_fill(shards, lambda _: None))
    workers = best_workers(
        recipe,
        device=runtime.device,
        dtype=runtime.dtype,
        samples=sum(length * count for length, count in missing.items()),
        tasks=missing.total(),
    )
    return fill(recipe, runtime, shards, workers=workers, made=made) if workers > 1 else None


def do_all(
    recipe: Recipe,
    setup: Setup[Task, Result],
    arguments: Sequence[tuple[Any, ...]],
    tasks: Sequence[Task],
    *,
    report: Progress,
) -> list[Result]:
    """Has processes do tasks with the model of a recipe.

    Args:
        recipe: The recipe whose model they load.
        setup: Gives their work; importable by name.
        arguments: Those of ``setup``, for each process.
        tasks: What is to be done, in any order.
        report: Called with what the work reports.

    Returns:
        The results, in the order of the tasks.

    Raises:
        RecipeError: a model of a family that is registered in this process alone.
        WorkerError: a process that dies again and again at the same place.
        DiffuMaskError: what a task raised.
    """
    if is_registered_here(recipe.model, recipe.revision):
        raise RecipeError(
            f"workers: the family of {recipe.model!r} is registered in this process alone; offer it by an entry point "
            "(CONTRIBUTING, 'A model family'), or take workers=1"
        )
    with WorkerPool(setup, arguments) as pool:
        return [future.result() for future in _ended([pool.submit(task, report) for task in tasks])]


def runs_of(shards: Sequence[Shard], *, workers: int, batch_size: int) -> list[Shard]:
    """Cuts ranges of indices into runs, between the batches that indices always lie in.

    Args:
        shards: The ranges.
        workers: How many share the runs.
        batch_size: The size of a batch.

    Returns:
        The runs, in order.
    """
    return list(_cut(shards, workers=workers, batch_size=batch_size))


def _cut(shards: Sequence[Shard], *, workers: int, batch_size: int) -> Iterator[Shard]:
    rest = sum(stop - start for start, stop in shards)
    for start, stop in shards:
        while start < stop:
            batches = rest // (SHARE * workers * batch_size)
            length = batch_size * min(max(batches, 1), MOST_BATCHES)
            end = min(start - start % batch_size + length, stop)
            yield start, end
            start, rest = end, rest - (end - start)


def _once(made: Callable[[Made], object]) -> Progress:
    """A process that took another's place reports again what it finds in the store."""
    seen: set[int] = set()
    lock = threading.Lock()

    def report(one: Made) -> None:
        with lock:
            if one.index not in seen:
                seen.add(one.index)
                made(one)

    return report


def _ended(futures: Sequence[Future[Result]]) -> Sequence[Future[Result]]:
    """All of them, or those that failed as soon as one has."""
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    return futures if not waiting else [future for future in done if future.exception()]


def _fill_runs(recipe: Recipe, runtime: Runtime) -> Work[Shard, Counter[str]]:
    samples = GeneratedSamples(recipe, runtime)

    def work(run: Shard, report: Progress) -> Counter[str]:
        samples.rejected.clear()
        for one in samples.fill(*run):
            report(one)
        return Counter(samples.rejected)

    return work
