"""The generated samples of a recipe by index: taken from the store, or generated and stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from diffumask_datasets.augmentation.pipeline import augmented, block_of, cached_scenes, drawn_others, row_from
from diffumask_datasets.dataset.schema import Row, from_payload, quality_of
from diffumask_datasets.dataset.storage import Location
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.batches import Batch, Pipeline
from diffumask_datasets.generation.sample_generator import SampleGenerator
from diffumask_datasets.generation.store import SampleStore
from diffumask_datasets.recipes.augment_settings import fewest_objects
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["GeneratedSamples", "Made", "Runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What changes how samples are made but not what they are.

    ``device`` and ``dtype`` are torch's names, None for the best the machine has; ``store`` is the folder or URL of the
    sample store, None for :func:`~diffumask_datasets.generation.store.default_store_root`. ``mask_workers`` are processes
    that make masks while the next images are generated; with 0 each image is finished before the next is begun.
    """

    batch_size: int = 1
    device: str | None = None
    dtype: str | None = None
    store: Location | None = None
    mask_workers: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"batch_size: expected a number from 1 up, got {self.batch_size}")
        if self.mask_workers < 0:
            raise RecipeError(f"mask_workers: expected a number from 0 up, got {self.mask_workers}")


@dataclass(frozen=True, slots=True)
class Made:
    """A sample that the store has by now.

    ``quality`` is None where the store had it before: entries that are there are not read. ``rejected`` counts the attempts
    that were rejected since the last report.
    """

    index: int
    quality: float | None = None
    rejected: int = 0


class GeneratedSamples:
    """The samples of one prepared recipe, looked up in the store before they are generated.

    Augmented samples are cheap to make again, so the store holds what they are made of: the samples of ``plain_recipe``.
    ``sparse`` are the indices seen so far of samples with less than ``fewest_objects``, because no more fit.
    With ``mask_workers`` in the runtime, use it as a context or close it, so that their processes end.

    :meth:`rows` and :meth:`fill` raise StoreError where the store cannot be read, or lacks a sample and cannot be written.
    """

    def __init__(self, recipe: Recipe, runtime: Runtime = Runtime()) -> None:
        self.recipe, self.runtime = recipe, runtime
        self.found = 0
        """Samples that were in the store already, as far as rows were read."""
        self.plain_recipe = plain = recipe.model_copy(update={"augment": ()})
        self.store = SampleStore(runtime.store, plain.digest)
        generator = SampleGenerator(plain, batch_size=runtime.batch_size, device=runtime.device, dtype=runtime.dtype)
        self.fewest_objects, self.sparse = fewest_objects(recipe.augment), set[int]()
        self._pipeline = Pipeline(
            plain, generator, self.store, mask_workers=runtime.mask_workers, batch_size=runtime.batch_size
        )

    def __enter__(self) -> GeneratedSamples:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rejected(self) -> Counter[str]:
        """The attempts that were not good enough, by reason, as far as this object made them."""
        return self._pipeline.rejected

    def close(self) -> None:
        """Ends the mask workers."""
        self._pipeline.close()

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """The ``default`` rows of the indices ``start`` ≤ k < ``stop``, in order, a batch at a time."""
        return self._augmented_rows(start, stop) if self.recipe.augment else self._plain_rows(start, stop)

    def fill(self, start: int, stop: int) -> Iterator[Made]:
        """Makes the store hold what the indices ``start`` ≤ k < ``stop`` are made of; gives each once it is there.

        Entries that are there are not read, so that a damaged one is noticed only by :meth:`rows`.
        """
        present = self.store.present(start, stop)
        yield from map(Made, sorted(present))
        told = self.rejected.total()
        for _, payloads in self._pipeline.run(self._absent(start, stop, present)):
            for index, payload in payloads.items():
                rejected, told = self.rejected.total() - told, self.rejected.total()
                yield Made(index, quality_of(payload), rejected)

    def batches_to_fill(self, shards: Iterable[Shard], made: Callable[[Made], object]) -> Iterator[Batch]:
        """What :meth:`fill` would make, for others to make; ``made`` hears of each sample that is there already."""
        for start, stop in shards:
            present = self.store.present(start, stop)
            for index in sorted(present):
                made(Made(index))
            yield from self._absent(start, stop, present)

    def _absent(self, start: int, stop: int, present: set[int]) -> Iterator[Batch]:
        for first, indices in self._grid(start, stop):
            absent = [index for index in indices if index not in present]
            if absent:
                yield Batch(first, absent)

    def _grid(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """(first index of a batch, which of its indices lie in the range)."""
        size = self.runtime.batch_size
        for first in range(start - start % size, stop, size):
            yield first, range(max(first, start), min(first + size, stop))

    def _look_up(self, first: int, indices: range) -> Batch:
        entries = {index: self.store.get(index) for index in indices}
        return Batch(first, indices, {index: entry for index, entry in entries.items() if entry is not None})

    def _plain_rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        batches = (self._look_up(first, indices) for first, indices in self._grid(start, stop))
        for batch, made in self._pipeline.run(batches):
            self.found += len(batch.stored)
            for index in batch.indices:
                yield index, from_payload(batch.stored.get(index) or made[index])

    def _augmented_rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Sample k is the plain sample k after the steps; others that it needs come from its block of indices."""
        recipe, digest, size = self.recipe, self.recipe.digest, self.runtime.batch_size
        plain: dict[int, Row] = {}

        def fetch(index: int) -> Row:
            if index not in plain:
                # The whole batch: its other rows are needed sooner or later, and a batch of one row costs as much.
                first = index - index % size
                plain.update(self._plain_rows(first, first + size))
            return plain[index]

        scenes, stuff = cached_scenes(fetch), [recipe.classes.index(name) + 1 for name in recipe.stuff]
        for index in range(start, stop):
            block = block_of(index, recipe.augment)
            for old in [old for old in plain if old < block.start - size]:
                del plain[old]
            row = fetch(index)
            scene = augmented(
                scenes(index),
                recipe.augment,
                seed=recipe.seed,
                key=str(index),
                others=drawn_others(scenes, index, block),
                classes=recipe.classes,
            )
            made = row_from(scene, row, f"{digest}-{index:08d}")
            if sum(category not in stuff for category in made["objects"]["category"]) < self.fewest_objects:
                self.sparse.add(index)
            yield index, made
