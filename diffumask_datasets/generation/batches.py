"""Batches on their way: generated, labelled, generated again where they are poor, and stored; a bounded number at once."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from diffumask_datasets.generation.masks import warn_of_missing_masks
from diffumask_datasets.generation.sample_generator import GeneratedImage, LabelledImage, SampleGenerator
from diffumask_datasets.generation.store import SampleStore
from diffumask_datasets.generation.workers import Executor, Inline, Progress, ThreadPool, Work, WorkerPool
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Batch", "BatchJob", "Job", "Pipeline", "WriteJob", "label_images"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome", covariant=True)

PREFETCH = 2
"""Images to prefetch per mask worker: one in progress, one queued."""

WRITERS = 4
"""Threads that store samples while the next are generated; a store far away answers late."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requested indices of one batch, from ``first`` on; ``stored`` holds the payloads that the store has."""

    first: int
    indices: Sequence[int]
    stored: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """The indices that the store lacks."""
        return [index for index in self.indices if index not in self.stored]


class Job(Protocol[Outcome]):
    """Something that was begun and has not ended."""

    def advance(self) -> None:
        """Does what can be done by now without waiting."""

    def end(self) -> Outcome:
        """Waits for the rest."""


class BatchJob:
    """A batch that is generated and labelled; poor samples are generated again, up to the recipe's attempts."""

    def __init__(
        self,
        batch: Batch,
        recipe: Recipe,
        *,
        generator: SampleGenerator,
        labeller: Executor[GeneratedImage, LabelledImage],
        rejected: Counter[str],
    ) -> None:
        self._batch, self._recipe, self._rejected = batch, recipe, rejected
        self._generator, self._labeller = generator, labeller
        self._best: dict[int, LabelledImage] = {}
        self._poor = batch.missing
        self._attempt = 0
        self._labelled: list[Future[LabelledImage]] = []
        self._generate()

    def advance(self) -> None:
        """Generates again what is known to be poor, without waiting for what is not known yet."""
        if self._labelled and all(future.done() for future in self._labelled):
            self._judge()

    def end(self) -> tuple[Batch, dict[int, bytes]]:
        """The batch, and the payloads that were made for it.

        Raises:
            ModelError: no attempt at a sample gave a usable heat map, or the image-text model cannot be loaded.
        """
        while self._labelled:
            self._judge()
        for index, best in self._best.items():
            sample_id = f"{self._recipe.digest}-{index:08d}"
            warn_of_missing_masks(sample_id, best.maskless, self._recipe)
            if best.unseen is not None:
                logger.warning("%s: %s; its quality counts as 0", sample_id, best.unseen)
        return self._batch, {index: self._best[index].payload for index in self._batch.missing}

    def _generate(self) -> None:
        images = self._generator.generate(self._batch.first, self._poor, self._attempt) if self._poor else []
        self._labelled = [self._labeller.submit(image) for image in images]

    def _judge(self) -> None:
        """Keeps what is better than earlier attempts, and begins the next attempt at what is still poor."""
        is_last = self._attempt + 1 == self._recipe.max_attempts
        for labelled in [future.result() for future in self._labelled]:
            if labelled.error is not None:
                if is_last and labelled.index not in self._best:
                    raise labelled.error
                continue
            # Ties go to the earlier one, so that a hopeless sample is its first attempt.
            best = self._best.get(labelled.index)
            if best is None or labelled.quality > best.quality:
                self._best[labelled.index] = labelled
        self._poor = [] if is_last else [index for index in self._poor if self._is_poor(self._best.get(index))]
        self._attempt += 1
        self._generate()

    def _is_poor(self, best: LabelledImage | None) -> bool:
        """Whether the best attempt so far is not good enough; counts why."""
        if best is None:
            self._rejected["no usable heat map"] += 1
        elif best.maskless:
            self._rejected["a class has no mask"] += 1
        elif best.unseen is not None:
            self._rejected["a class is not seen"] += 1
        elif best.quality < self._recipe.min_quality:
            self._rejected["quality under min_quality"] += 1
        else:
            return False
        return True


class WriteJob:
    """A labelled batch that is being stored."""

    def __init__(self, batch: Batch, made: Mapping[int, bytes], writer: Executor[tuple[int, bytes], None]) -> None:
        self._batch, self._made = batch, made
        self._written = [writer.submit(entry) for entry in made.items()]

    def advance(self) -> None:
        """Nothing to do but wait."""

    def end(self) -> tuple[Batch, Mapping[int, bytes]]:
        """The batch, stored, and the payloads that were made for it.

        Raises:
            StoreError: one of them cannot be written.
        """
        for future in self._written:
            future.result()
        return self._batch, self._made


class Pipeline:
    """Generates, labels and stores batches: here and now, or with ``mask_workers`` processes and a few threads.

    ``rejected`` counts the attempts that were not good enough, by reason.
    """

    def __init__(
        self, recipe: Recipe, generator: SampleGenerator, store: SampleStore, *, mask_workers: int, batch_size: int
    ) -> None:
        self.rejected: Counter[str] = Counter()
        self._recipe, self._generator, self._store = recipe, generator, store
        self._labeller: Executor[GeneratedImage, LabelledImage] = Inline(label_images, (recipe,))
        self._writer: Executor[tuple[int, bytes], None] = Inline(_write_entries, (store,))
        self._labelled_ahead = self._stored_ahead = 0
        if mask_workers:
            self._labeller = WorkerPool(label_images, [(recipe,)] * mask_workers)
            self._writer = ThreadPool(_write_entries, (store,), threads=WRITERS)
            self._labelled_ahead = -(-PREFETCH * mask_workers // batch_size)
            self._stored_ahead = WRITERS

    def run(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Mapping[int, bytes]]]:
        """Completes batches, in order: each with the payloads that were made for it, which the store has by then.

        Raises:
            StoreError: the store cannot be written.
            ModelError and others of :class:`BatchJob`.
        """
        labelled = _in_order(self._begin, batches, ahead=self._labelled_ahead)
        return _in_order(lambda done: WriteJob(*done, self._writer), labelled, ahead=self._stored_ahead)

    def close(self) -> None:
        """Ends processes and threads; what is being stored is stored first."""
        self._writer.close()
        self._labeller.close()

    def _begin(self, batch: Batch) -> BatchJob:
        if batch.missing:
            self._store.check_writable()
        return BatchJob(batch, self._recipe, generator=self._generator, labeller=self._labeller, rejected=self.rejected)


def label_images(recipe: Recipe) -> Work[GeneratedImage, LabelledImage]:
    """The work of a mask worker."""
    generator = SampleGenerator(recipe)

    def work(image: GeneratedImage, _: Progress) -> LabelledImage:
        return generator.label(image)

    return work


def _write_entries(store: SampleStore) -> Work[tuple[int, bytes], None]:
    return lambda entry, _: store.put(*entry)


def _in_order(begin: Callable[[Item], Job[Outcome]], items: Iterable[Item], *, ahead: int) -> Iterator[Outcome]:
    """Begins items, ``ahead`` of them more than have ended, and ends them in their order."""
    begun: deque[Job[Outcome]] = deque()
    for item in items:
        begun.append(begin(item))
        while len(begun) > ahead:
            yield begun.popleft().end()
        for job in begun:
            job.advance()
    while begun:
        yield begun.popleft().end()
