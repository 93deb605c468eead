"""A Ray cluster: Ray Data deals batches out to actors that hold the model, and their images to actors that make masks.

Finished samples go into the store: from the actors where it is a URL, else through this process. A lost node costs what it
was doing: Ray does it again elsewhere, and as a sample depends on recipe and index alone, the bytes are the same.
"""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diffumask_datasets.dataset.schema import quality_of
from diffumask_datasets.errors import DiffuMaskError, MissingDependencyError, WorkerError
from diffumask_datasets.generation.batches import Batch, BatchJob, label_images
from diffumask_datasets.generation.sample_generator import GeneratedImage, SampleGenerator
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.generation.store import SampleStore, default_store_root
from diffumask_datasets.generation.workers import Inline, Progress, Setup, Work
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["fill"]

OBJECT_STORE_BYTES = 2 * 2**30
"""What may lie between the stages, on all nodes together; generators wait where it is full."""

BLOCK_BYTES = 8 * 2**20
"""What Ray expects one task to give; by default 128 MiB, for which small nodes would have no room."""

BATCHES_AT_ONCE = 50_000
"""Batches of one Ray dataset, so that this process holds a bounded list however many samples are wanted."""

STUBBORN = {"max_restarts": -1, "max_task_retries": -1}

Item = dict[str, Any]


def fill(
    recipe: Recipe,
    runtime: Runtime,
    shards: Sequence[Shard],
    *,
    workers: int | None,
    address: str | None,
    made: Callable[[Made], object],
) -> Counter[str]:
    """Makes the store hold what the samples of ``shards`` are made of.

    Args:
        recipe: A prepared recipe.
        runtime: Batch size, device, store, and mask workers of each actor that generates.
        shards: Ranges of indices.
        workers: Number of actors that generate; None for one for each GPU of the cluster, or each CPU where it has none.
        address: Ray's address; None for a cluster of this machine or the one that RAY_ADDRESS names.
        made: Called once for each sample, as soon as the store has it, in any order.

    Returns:
        The attempts that were rejected, by reason.

    Raises:
        MissingDependencyError: Ray is not installed.
        WorkerError: the cluster cannot be reached, or gave up.
        StoreError, ModelError and others that an actor raised.
    """
    runtime = replace(runtime, store=runtime.store or default_store_root())
    with GeneratedSamples(recipe, Runtime(runtime.batch_size, store=runtime.store)) as samples:
        rejected: Counter[str] = Counter()
        batches = samples.batches_to_fill(shards, made)
        first = next(batches, None)
        if first is None:
            return rejected
        samples.store.check_writable()
        _connect(address)
        batches = itertools.chain([first], batches)
        while piece := list(itertools.islice(batches, BATCHES_AT_ONCE)):
            for result in _results(samples.plain_recipe, runtime, piece, workers):
                if result.payload is not None:
                    samples.store.put(result.index, result.payload)
                rejected += result.rejected
                made(Made(result.index, result.quality, result.rejected.total()))
    return rejected


class _Actor:
    """Does a :data:`~diffumask_datasets.generation.workers.Work` in a process of the cluster."""

    def __init__(self, setup: Setup[Any, Any], *arguments: Any) -> None:
        self._work = setup(*arguments)

    def __call__(self, item: Item) -> list[Item]:
        """A pickled task → its pickled results. Errors are results, of later stages too: Ray wraps what is raised."""
        task = pickle.loads(item["pickled"])
        try:
            results = [task] if isinstance(task, DiffuMaskError) else self._work(task, lambda _: None)
        except DiffuMaskError as error:
            results = [error]
        return [{"pickled": pickle.dumps(result)} for result in results]


@dataclass(frozen=True, slots=True)
class _Made:
    """A sample that was made; ``payload`` is None where the actor has stored it."""

    index: int
    payload: bytes | None
    quality: float
    rejected: Counter[str] = field(default_factory=Counter)


def _make_batches(recipe: Recipe, runtime: Runtime) -> Work[Batch, list[_Made]]:
    """Generates and labels in one actor: where no accelerator waits, or where the next attempt hangs on the last."""
    generator, keep = _generator(recipe, runtime), _keeper(recipe, runtime)
    labeller = Inline(label_images, (recipe,))

    def work(batch: Batch, report: Progress) -> list[_Made]:
        rejected: Counter[str] = Counter()
        _, payloads = BatchJob(batch, recipe, generator=generator, labeller=labeller, rejected=rejected).end()
        made = [_Made(index, keep(index, payload), quality_of(payload)) for index, payload in payloads.items()]
        return [replace(made[0], rejected=rejected), *made[1:]]

    return work


def _generate_batches(recipe: Recipe, runtime: Runtime) -> Work[Batch, list[GeneratedImage]]:
    """The first of two stages, on the accelerators."""
    generator = _generator(recipe, runtime)
    return lambda batch, _: generator.generate(batch.first, batch.indices)


def _label_and_keep(recipe: Recipe, runtime: Runtime) -> Work[GeneratedImage, list[_Made]]:
    """The second of two stages, on CPUs."""
    label, keep = label_images(recipe), _keeper(recipe, runtime)

    def work(image: GeneratedImage, report: Progress) -> list[_Made]:
        labelled = label(image, report)
        if labelled.error is not None:
            raise labelled.error
        return [_Made(labelled.index, keep(labelled.index, labelled.payload), labelled.quality)]

    return work


def _generator(recipe: Recipe, runtime: Runtime) -> SampleGenerator:
    return SampleGenerator(recipe, batch_size=runtime.batch_size, device=runtime.device, dtype=runtime.dtype)


def _keeper(recipe: Recipe, runtime: Runtime) -> Callable[[int, bytes], bytes | None]:
    """What an actor does with a payload: a URL is written here; a folder is on the disk of the driver, which gets it."""
    if not isinstance(runtime.store, str):
        return lambda _, payload: payload
    return SampleStore(runtime.store, recipe.digest).put


def _results(recipe: Recipe, runtime: Runtime, batches: Sequence[Batch], workers: int | None) -> Iterator[_Made]:
    import ray
    from ray.data import ActorPoolStrategy

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK_BYTES
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=OBJECT_STORE_BYTES
    )
    gpus = int(ray.cluster_resources().get("GPU", 0)) if runtime.device != "cpu" else 0
    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
    generators = workers or gpus or cpus
    is_one_stage = runtime.mask_workers == 0 or recipe.max_attempts > 1
    needs = {"num_gpus": min(1.0, gpus / generators)} if gpus else {"num_cpus": 1}
    items = [{"pickled": pickle.dumps(batch)} for batch in batches]
    data = ray.data.from_items(items, override_num_blocks=len(items))

    def actor(setup: Setup[Any, Any]) -> dict[str, Any]:
        return {"fn_constructor_args": (setup, recipe, runtime), **STUBBORN}

    # All at once: left to grow, the pool would start an actor whenever the others have long been busy. Where generators and
    # mask_workers share the CPUs, one is left to a labeller, without which nothing would ever be done.
    at_once = generators if gpus or is_one_stage else min(generators, max(1, cpus - 1))
    pool = ActorPoolStrategy(min_size=1, max_size=generators, initial_size=at_once)
    if is_one_stage:
        data = data.flat_map(_Actor, compute=pool, **needs, **actor(_make_batches))
    else:
        mask_workers = ActorPoolStrategy(min_size=1, max_size=generators * runtime.mask_workers)
        data = data.flat_map(_Actor, compute=pool, **needs, **actor(_generate_batches))
        data = data.flat_map(_Actor, compute=mask_workers, num_cpus=1, **actor(_label_and_keep))
    try:
        for row in data.iter_rows():
            result = pickle.loads(row["pickled"])
            if isinstance(result, DiffuMaskError):
                raise result
            yield result
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise WorkerError(f"the Ray cluster gave up: {last}; finished samples are kept, so start again") from error


def _connect(address: str | None) -> None:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError.of("ray", "ray") from error
    if ray.is_initialized():
        return
    try:
        # A cluster that is started here ends with this process: a dashboard would only take CPU from the actors.
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkerError(
            f"cannot reach a Ray cluster at {address or 'this machine'} ({str(error).splitlines()[0]}): "
            "start one with 'ray start --head', or leave --address out"
        ) from error
