"""The stages that follow painting, and how they overlap with it: in order, a bounded number of batches on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from diffumask_datasets.generation.images import GeneratedImage
from diffumask_datasets.generation.masks import LabelledAttempt, Labeller, label_in_process
from diffumask_datasets.generation.store import Store
from diffumask_datasets.generation.workers import Inline, WorkerPool
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Job", "Pipeline", "in_order"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome", covariant=True)

PREFETCH = 2
"""Images to prefetch per mask worker: one in progress, one queued."""

WRITERS = 4
"""Threads that store samples while the next are painted; a store far away answers late."""


class Job(Protocol[Outcome]):
    """Something begun and not ended."""

    def advance(self) -> None:
        """Does what can be done by now without waiting."""

    def end(self) -> Outcome:
        """Waits for the rest."""


def in_order(begin: Callable[[Item], Job[Outcome]], items: Iterable[Item], *, ahead: int) -> Iterator[Outcome]:
    """Begins items, ``ahead`` of them more than have ended, and ends them in their order."""
    begun: deque[Job[Outcome]] = deque()
    for item in items:
        begun.append(begin(item))
        while len(begun) > ahead:
            yield begun.popleft().end()
        for pending in begun:
            pending.advance()
    while begun:
        yield begun.popleft().end()


class Pipeline:
    """Where samples are refined and stored: here and now, or by ``mask_workers`` processes and a few threads."""

    def __init__(self, recipe: Recipe, store: Store, *, mask_workers: int, batch_size: int) -> None:
        self._store = store
        self._crew: WorkerPool[GeneratedImage, LabelledAttempt] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self.batches_refined_ahead = self.batches_stored_ahead = 0
        if mask_workers:
            self._crew = WorkerPool(label_in_process, [(recipe,)] * mask_workers, daemon=True)
            self._threads = ThreadPoolExecutor(WRITERS)
            self.batches_refined_ahead = -(-PREFETCH * mask_workers // batch_size)
            self.batches_stored_ahead = WRITERS
        self.labeller: WorkerPool[GeneratedImage, LabelledAttempt] | Inline[GeneratedImage, LabelledAttempt] = (
            self._crew or Inline(Labeller(recipe).label)
        )

    def store(self, payloads: Mapping[int, bytes]) -> list[Future[None]]:
        """Puts payloads into the store; a future raises StoreError where one cannot be written."""
        if self._threads:
            return [self._threads.submit(self._store.put, index, payload) for index, payload in payloads.items()]
        for index, payload in payloads.items():
            self._store.put(index, payload)
        return []

    def close(self) -> None:
        """Ends processes and threads; what was being stored is stored first."""
        if self._threads:
            self._threads.shutdown()
        if self._crew:
            self._crew.close()
