"""A Ray cluster: Ray Data deals batches out to actors that hold the model, and their paintings to actors that refine.

Finished samples go into the store: from the actors where it is a URL, else through this process. A lost node costs what it
was doing: Ray does it again elsewhere, and as a sample depends on recipe and index alone, the bytes are the same.
"""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diffumask_datasets.errors import DiffuMaskError, MissingDependencyError, WorkerError
from diffumask_datasets.generation.attempts import Batch, BatchJob
from diffumask_datasets.generation.images import ImageGenerator
from diffumask_datasets.generation.masks import Labeller
from diffumask_datasets.generation.remote_store import open_store
from diffumask_datasets.generation.sample_generator import Runtime, SampleGenerator
from diffumask_datasets.generation.store import default_store_root
from diffumask_datasets.generation.workers import Inline
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["fill"]

OBJECT_STORE_BYTES = 2 * 2**30
"""What may lie between the stages, on all nodes together; painters wait where it is full."""

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
    made: Callable[[int], object],
) -> Counter[str]:
    """Makes the store hold what the samples of ``shards`` are made of; gives the attempts that were rejected, by reason.

    ``workers`` actors paint, by default one for each GPU of the cluster, or each CPU where it has none. ``address`` is
    Ray's: None for a cluster of this machine or the one that RAY_ADDRESS names. ``made`` is called once with each index.

    Raises:
        MissingDependencyError: Ray is not installed.
        WorkerError: the cluster cannot be reached, or gave up.
        StoreError, ModelError and others that an actor raised.
    """
    runtime = dataclasses.replace(runtime, store=runtime.store or default_store_root())
    with SampleGenerator(recipe, Runtime(runtime.batch_size, store=runtime.store)) as generator:
        rejected: Counter[str] = Counter()
        batches = generator.batches_to_fill(shards, made)
        first = next(batches, None)
        if first is None:
            return rejected
        generator.store.check_writable()
        _connect(address)
        batches = itertools.chain([first], batches)
        while piece := list(itertools.islice(batches, BATCHES_AT_ONCE)):
            for row in _rows(generator.plain_recipe, runtime, piece, workers):
                if row["error"]:
                    raise pickle.loads(row["error"])
                if row["payload"]:
                    generator.store.put(row["index"], row["payload"])
                rejected.update(row["rejected"].split("\n") if row["rejected"] else ())
                made(row["index"])
    return rejected


class _Make:
    """Paints and refines in one actor: where no accelerator waits, or where the next attempt hangs on the last."""

    def __init__(self, recipe: Recipe, runtime: Runtime) -> None:
        self._recipe = recipe
        self._generator = ImageGenerator(
            recipe, batch_size=runtime.batch_size, device=runtime.device, dtype=runtime.dtype
        )
        self._labeller = Inline(Labeller(recipe).label)
        self._keep = _keeper(recipe, runtime)

    def __call__(self, item: Item) -> list[Item]:
        rejected: Counter[str] = Counter()
        batch = Batch(int(item["first"]), [int(index) for index in item["wanted"]], {})
        try:
            _, made = BatchJob(batch, self._recipe, self._generator, self._labeller, rejected).end()
            rows = [_row(index, self._keep(index, payload)) for index, payload in made.items()]
        except DiffuMaskError as error:
            return [_failure(error)]
        rows[0]["rejected"] = "\n".join(rejected.elements())
        return rows


class _Paint:
    """The first of two stages, on the accelerators."""

    def __init__(self, recipe: Recipe, runtime: Runtime) -> None:
        self._generator = ImageGenerator(
            recipe, batch_size=runtime.batch_size, device=runtime.device, dtype=runtime.dtype
        )

    def __call__(self, item: Item) -> list[Item]:
        try:
            painted = self._generator.paint(int(item["first"]), [int(index) for index in item["wanted"]], 0)
        except DiffuMaskError as error:
            return [{"painted": pickle.dumps(error)}]
        return [{"painted": pickle.dumps(one)} for one in painted]


class _Refine:
    """The second of two stages, on CPUs."""

    def __init__(self, recipe: Recipe, runtime: Runtime) -> None:
        self._labeller = Labeller(recipe)
        self._keep = _keeper(recipe, runtime)

    def __call__(self, item: Item) -> Item:
        painted = pickle.loads(item["painted"])
        if isinstance(painted, DiffuMaskError):
            return _failure(painted)
        refined = self._labeller.label(painted)
        if refined.error is not None:
            return _failure(refined.error)
        try:
            return _row(refined.index, self._keep(refined.index, refined.payload))
        except DiffuMaskError as error:
            return _failure(error)


def _row(index: int, payload: bytes) -> Item:
    return {"index": index, "payload": payload, "rejected": "", "error": b""}


def _failure(error: DiffuMaskError) -> Item:
    # As a value: Ray wraps what is raised, and the original is lost on the way.
    return {"index": -1, "payload": b"", "rejected": "", "error": pickle.dumps(error)}


def _keeper(recipe: Recipe, runtime: Runtime) -> Callable[[int, bytes], bytes]:
    """What an actor does with a payload: a URL is written here; a folder is on the disk of the driver, which gets it."""
    if not isinstance(runtime.store, str):
        return lambda _, payload: payload
    store = open_store(runtime.store, recipe.digest)

    def keep(index: int, payload: bytes) -> bytes:
        store.put(index, payload)
        return b""

    return keep


def _rows(
    recipe: Recipe, runtime: Runtime, batches: Sequence[Batch], workers: int | None
) -> Iterator[Mapping[str, Any]]:
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
    painters = workers or gpus or cpus
    is_one_stage = runtime.mask_workers == 0 or recipe.max_attempts > 1
    needs = {"num_gpus": min(1.0, gpus / painters)} if gpus else {"num_cpus": 1}
    items = [{"first": batch.first, "wanted": list(batch.indices)} for batch in batches]
    data = ray.data.from_items(items, override_num_blocks=len(items))
    given: dict[str, Any] = {"fn_constructor_args": (recipe, runtime), **STUBBORN}
    # All at once: left to grow, the pool would start an actor whenever the others have long been busy. Where painters and
    # mask_workers share the CPUs, one is left to a labeller, without which nothing would ever be done.
    at_once = painters if gpus or is_one_stage else min(painters, max(1, cpus - 1))
    pool = ActorPoolStrategy(min_size=1, max_size=painters, initial_size=at_once)
    if is_one_stage:
        data = data.flat_map(_Make, compute=pool, **needs, **given)
    else:
        mask_workers = ActorPoolStrategy(min_size=1, max_size=painters * runtime.mask_workers)
        data = data.flat_map(_Paint, compute=pool, **needs, **given)
        data = data.map(_Refine, compute=mask_workers, num_cpus=1, **given)
    try:
        yield from data.iter_rows()
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
