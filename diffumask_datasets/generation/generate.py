"""``diffumask generate``: from the fields of a recipe to a finished dataset folder, with progress."""

from __future__ import annotations

import dataclasses
import io
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.contact_sheet import contact_sheet
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.shards import SHARD_FILE, shard_text
from diffumask_datasets.dataset.storage import Location, join, parse_location
from diffumask_datasets.dataset.views import check_shown
from diffumask_datasets.dataset.writer import PREVIEW, FileContent, check_target, write_folder
from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.generation.config import DiffuMaskConfig
from diffumask_datasets.generation.engines import local
from diffumask_datasets.generation.engines.best_workers import check_workers
from diffumask_datasets.generation.engines.devices import mask_workers_of
from diffumask_datasets.generation.progress import GenerationProgress
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.recipes.file import BATCH_SIZE
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard, ShardNumber

__all__ = ["generate"]

logger = logging.getLogger(__name__)

PREVIEW_SAMPLES = 24

ENGINES = ("local", "ray")


def generate(
    output: str | Path,
    *,
    view: str = "default",
    preview: bool = False,
    shard: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    mask_workers: int | None = None,
    address: str | None = None,
    **fields: Any,
) -> Location | None:
    """Generates a dataset folder. Started again after an interruption, it takes finished samples from the store.

    Args:
        output: A folder or a URL.
        view: What ``load_dataset(output)`` gives: ``instance`` or ``detection`` add that view to the folder, and the columns
            of ``default`` are then its config ``semantic``.
        preview: Whether to add ``preview.png``, a contact sheet of the first samples.
        shard: ``"i/n"``, the share of one of n machines, i from 0, for :func:`diffumask_datasets.merge`.
        engine: ``"local"`` or ``"ray"``.
        workers: Processes that generate images, each on a GPU of its own where there are some. None for one on each GPU, or
            as many as cores and free memory carry, unless so little is missing that one is faster; with Ray, for as many as
            the cluster has GPUs.
        mask_workers: Processes for each worker that make masks meanwhile; None for 2 on a GPU and 0 on the CPU.
        address: The address of the Ray cluster.
        **fields: Those of :class:`DiffuMaskConfig`, such as ``classes`` and ``num_samples``.

    Returns:
        Where the contact sheet is; None where none was written.

    Raises:
        RecipeError: fields that are unknown or illegal, no size, or no such shard.
        ExportError: ``output`` holds something that is not ours, or cannot be written, or an unknown view.
        WorkerError: a worker that dies again and again at the same place, or a cluster that cannot be reached.
    """
    location = parse_location(output)
    number = None if shard is None else ShardNumber.parse(shard)
    check_shown(view)
    if shard is not None and view != "default":
        raise RecipeError("a shard has no views: give the view to diffumask merge")
    _check_engine(engine, workers, address)
    config = DiffuMaskConfig(**fields)
    if not isinstance(config.recipe, Recipe):
        raise RecipeError(f"config {config.name!r} is drawn, not generated: load_dataset('diffumask', {config.name!r})")
    config.plan.check_finite()
    check_target(location)
    requested = config.plan.shard(number or ShardNumber(0, 1))
    runtime = dataclasses.replace(config.runtime, mask_workers=mask_workers_of(config.runtime.device, mask_workers))
    rejected: Counter[str] = Counter()
    with GenerationProgress(sum(map(_size, requested.values()))) as progress:
        every_shard = list(itertools.chain.from_iterable(requested.values()))
        filled = _fill(engine, config.recipe, runtime, every_shard, workers, address, progress.made)
        if filled is not None:
            rejected = filled
            # Nothing is left to do but what the store has lost.
            progress.close()
            runtime = dataclasses.replace(runtime, mask_workers=0)
        with GeneratedSamples(config.recipe, runtime) as samples:
            extra: dict[str, FileContent] = {**_shard_files(config, number)}
            preview = preview and any(requested.values())
            if preview:
                extra[PREVIEW] = lambda: _preview(requested, samples)
            _write(location, config, requested, extra, view, samples, progress)
            rejected += samples.rejected
    if samples.sparse:
        count, fewest = len(samples.sparse), samples.fewest_objects
        logger.warning(
            "%d images hold fewer than %d objects, as no more fit: take fewer or smaller ones", count, fewest
        )
    for reason, count in rejected.items():
        logger.warning("%d attempts were generated again: %s", count, reason)
    return join(location, PREVIEW) if preview else None


def _check_engine(engine: str, workers: int | None, address: str | None) -> None:
    if engine not in ENGINES:
        raise RecipeError(f"unknown engine {engine!r}{suggestion(engine, ENGINES)}; legal: {', '.join(ENGINES)}")
    check_workers(workers)
    if address is not None and engine != "ray":
        raise RecipeError(f"address {address!r}: only engine='ray' has one")


def _fill(
    engine: str,
    recipe: Recipe,
    runtime: Runtime,
    shards: Sequence[Shard],
    workers: int | None,
    address: str | None,
    made: Callable[[Made], object],
) -> Counter[str] | None:
    """Has others fill the store; None where this process is to do it by itself."""
    if engine == "ray":
        from diffumask_datasets.generation.engines import ray

        return ray.fill(recipe, runtime, shards, workers=workers, address=address, made=made)
    if workers == 1:
        return None
    if workers is None:
        return local.fill_at_best(recipe, runtime, shards, made=made)
    return local.fill(recipe, runtime, shards, workers=workers, made=made)


def _write(
    output: Location,
    config: DiffuMaskConfig,
    requested: Mapping[str, Sequence[Shard]],
    extra_files: Mapping[str, FileContent],
    view: str,
    samples: GeneratedSamples,
    progress: GenerationProgress,
) -> None:
    write_folder(
        output,
        {name: _rows(samples, shards, progress) for name, shards in requested.items()},
        recipe=samples.recipe,
        sizes={name: size for name, size in config.plan.sizes.items() if size is not None},
        keep_heat_maps=config.keep_heat_maps,
        keep_threshold_curve=config.keep_threshold_curve,
        skip=config.plan.skip,
        extra_fields={BATCH_SIZE: config.runtime.batch_size} if config.runtime.batch_size > 1 else {},
        counts={split: _size(shards) for split, shards in requested.items()},
        extra_files=extra_files,
        view=view,
    )


def _size(shards: Sequence[Shard]) -> int:
    return sum(stop - start for start, stop in shards)


def _shard_files(config: DiffuMaskConfig, number: ShardNumber | None) -> dict[str, str]:
    if number is None:
        return {}
    return {SHARD_FILE: shard_text(number, {split: config.plan.range_of(split, number) for split in config.plan.sizes})}


def _rows(samples: GeneratedSamples, shards: Sequence[Shard], progress: GenerationProgress) -> Iterator[Row]:
    for start, stop in shards:
        for _, row in samples.rows(start, stop):
            yield row
            progress.read(row["quality"], samples)


def _preview(requested: Mapping[str, Sequence[Shard]], samples: GeneratedSamples) -> bytes:
    """A PNG of the first samples."""
    shards = next((shards for shards in requested.values() if shards), [])
    stored = itertools.chain.from_iterable(samples.rows(start, stop) for start, stop in shards)
    rows = [row for _, row in itertools.islice(stored, PREVIEW_SAMPLES)]
    png = io.BytesIO()
    contact_sheet(rows, samples.recipe.classes).save(png, format="PNG")
    return png.getvalue()
