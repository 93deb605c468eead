"""Prompts + backbone + masks → samples: the one place that knows all three.

A sample is painted (``images.py``), refined and encoded (``masks.py``), and
stored. With ``refiners`` the three overlap: later batches are painted while earlier ones are refined in other processes and
stored by threads, a bounded number on their way. Order and bytes are the same either way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.augmentation.pipeline import augmented, block_of, drawn_others, row_from
from diffumask_datasets.augmentation.scene import scene_of
from diffumask_datasets.dataset.schema import Row, from_payload
from diffumask_datasets.dataset.storage import Place
from diffumask_datasets.diffusion.options import resolve_checkpoint, resolve_lora
from diffumask_datasets.diffusion.registry import known_classes, resolve_revision
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.attempts import Batch, Making, Storing
from diffumask_datasets.generation.images import Painter
from diffumask_datasets.generation.masks import label_image, warn_of_missing_masks
from diffumask_datasets.generation.remote_store import open_store
from diffumask_datasets.generation.stages import Stages, in_order
from diffumask_datasets.generation.store import Store
from diffumask_datasets.prompts.sources import check_prompts, pin_prompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard
from diffumask_datasets.sample import check_known

__all__ = ["Runtime", "Synthesizer", "label_image", "pin_affinity_net", "prepare", "warn_of_missing_masks"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What changes how samples are made but not what they are.

    ``device`` and ``dtype`` are torch's names, None for the best the machine has; ``store`` is the folder or URL of the
    sample store, None for :func:`default_store_root`. ``refiners`` are processes that make masks
    while the next images are painted; with 0 each image is finished before the next is begun.
    """

    batch_size: int = 1
    device: str | None = None
    dtype: str | None = None
    store: Place | None = None
    refiners: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"batch_size: expected a number from 1 up, got {self.batch_size}")
        if self.refiners < 0:
            raise RecipeError(f"refiners: expected a number from 0 up, got {self.refiners}")


def prepare(recipe: Recipe, splits: Sequence[str] = ("train",)) -> Recipe:
    """The recipe with its model and prompts pinned to the content they have now; only such a recipe's digest names samples.

    Raises:
        UnknownClassError: the model paints a closed list of classes and one is not on it.
        TokenAlignmentError: a prompt that names none of the classes.
        RecipeError: captions that cannot be read, or that name a class nowhere in one of ``splits``.
        ModelError: the model, or a text model of the prompts, cannot be found.
    """
    known = known_classes(recipe.model)
    if known is not None:
        check_known(
            [term for name in recipe.classes for term in recipe.words_of(name).terms], known, model=recipe.model
        )
    recipe = pin_prompts(recipe)
    check_prompts(recipe, splits)
    pinned = {
        "revision": resolve_revision(recipe.model, recipe.revision),
        "affinity_net_revision": pin_affinity_net(recipe.affinity_net, recipe.affinity_net_revision),
        "checkpoint_revision": resolve_checkpoint(recipe.checkpoint, recipe.checkpoint_revision),
        "lora_revision": resolve_lora(recipe.lora, recipe.lora_revision),
    }
    return recipe.model_copy(update=pinned)


def pin_affinity_net(path: str | None, revision: str | None) -> str | None:
    """The fingerprint of an affinity net's file, None where there is none.

    Raises:
        ModelError: the file is missing, or not the one that ``revision`` names.
    """
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no affinity net {path}; make one with diffumask train-affinity")
    present = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    if revision not in (None, present):
        raise ModelError(f"the affinity net {path} has content {present!r}, not {revision!r} that is asked for")
    return present


class Synthesizer:
    """Makes the samples of one prepared recipe, asking the store before it generates. Loads the model when first needed.

    ``rejected`` counts the attempts that were not good enough, by reason, as far as this object painted them. With
    ``refiners`` in the runtime, use it as a context or close it, so that their processes end.

    :meth:`rows` and :meth:`fill` raise StoreError where the store cannot be read, or lacks a sample and cannot be written.
    """

    def __init__(self, recipe: Recipe, runtime: Runtime = Runtime()) -> None:
        self.recipe = recipe
        self.runtime = runtime
        self.rejected: Counter[str] = Counter()
        self._digest = recipe.digest
        # Augmented samples are cheap to make again: the store keeps what they are made of.
        self._plain: Synthesizer | None = None
        self.store: Store
        if recipe.augment:
            self._plain = Synthesizer(recipe.model_copy(update={"augment": ()}), runtime)
            self.store = self._plain.store
            return
        self.store = open_store(runtime.store, self._digest)
        self._painter = Painter(recipe, batch_size=runtime.batch_size, device=runtime.device, dtype=runtime.dtype)
        self._stages = Stages(recipe, self.store, refiners=runtime.refiners, batch_size=runtime.batch_size)

    def __enter__(self) -> Synthesizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes that refine."""
        if self._plain:
            self._plain.close()
        else:
            self._stages.close()

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """The ``default`` rows of the indices ``start`` ≤ k < ``stop``, in order, a batch at a time."""
        if self._plain:
            yield from self._augmented_rows(self._plain, start, stop)
            return
        batches = (self._looked_up(first, indices) for first, indices in self._grid(start, stop))
        for batch, made in self._finished(batches):
            for index in batch.indices:
                yield index, from_payload(batch.found.get(index) or made[index])

    def fill(self, start: int, stop: int) -> Iterator[int]:
        """Makes the store hold what the indices ``start`` ≤ k < ``stop`` are made of; gives each once it is there.

        Entries that are there are not read, so that a damaged one is noticed only by :meth:`rows`.
        """
        if self._plain:
            yield from self._plain.fill(start, stop)
            return
        present = self.store.present(start, stop)
        yield from sorted(present)
        for _, made in self._finished(self._absent(start, stop, present)):
            yield from made

    def batches_to_fill(self, shards: Iterable[Shard], made: Callable[[int], object]) -> Iterator[Batch]:
        """What :meth:`fill` would make, for others to make; ``made`` is called with each index that is there already."""
        maker = self._plain or self
        for start, stop in shards:
            present = maker.store.present(start, stop)
            for index in sorted(present):
                made(index)
            yield from maker._absent(start, stop, present)

    @property
    def plain_recipe(self) -> Recipe:
        """The recipe of the samples in the store: without augmentations."""
        return (self._plain or self).recipe

    def _absent(self, start: int, stop: int, present: set[int]) -> Iterator[Batch]:
        for first, indices in self._grid(start, stop):
            wanted = [index for index in indices if index not in present]
            if wanted:
                yield Batch(first, wanted, {})

    def _grid(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """(first index of a batch, which of its indices lie in the range)."""
        size = self.runtime.batch_size
        for first in range(start - start % size, stop, size):
            yield first, range(max(first, start), min(first + size, stop))

    def _looked_up(self, first: int, indices: Sequence[int]) -> Batch:
        entries = {index: self.store.get(index) for index in indices}
        return Batch(first, indices, {index: entry for index, entry in entries.items() if entry is not None})

    def _finished(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, dict[int, bytes]]]:
        """Batches in order with the payloads that were made for them, which the store has by then."""
        ahead = self._stages.batches_refined_ahead
        refined = in_order(self._begin, batches, ahead=ahead)
        return in_order(lambda done: Storing(*done, self._stages), refined, ahead=self._stages.batches_stored_ahead)

    def _begin(self, batch: Batch) -> Making:
        if batch.missing:
            self.store.check_writable()
        return Making(batch, self.recipe, self._painter, self._stages.refiner, self.rejected)

    def _augmented_rows(self, plain: Synthesizer, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Sample k is the plain sample k after the steps; others that it needs come from its block of indices."""
        recipe, size = self.recipe, self.runtime.batch_size
        kept: dict[int, Row] = {}

        def fetch(index: int) -> Row:
            if index not in kept:
                # The whole batch: its other rows are wanted sooner or later, and a batch of one wanted row costs as much.
                first = index - index % size
                kept.update(plain.rows(first, first + size))
            return kept[index]

        for index in range(start, stop):
            block = block_of(index, recipe.augment)
            for old in [old for old in kept if old < block.start - size]:
                del kept[old]
            row = fetch(index)
            others = drawn_others(fetch, index, block)
            scene = augmented(scene_of(row), recipe.augment, seed=recipe.seed, key=str(index), others=others)
            yield index, row_from(scene, row, f"{self._digest}-{index:08d}")
