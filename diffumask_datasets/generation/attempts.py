"""One batch on its way: painted, refined, painted again where it is poor, and stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from diffumask_datasets.generation.images import GeneratedImage, ImageGenerator
from diffumask_datasets.generation.masks import LabelledAttempt, warn_of_missing_masks
from diffumask_datasets.generation.stages import Pipeline
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Batch", "BatchJob", "Refining", "WriteJob"]


class Refining(Protocol):
    """What refines, here or elsewhere."""

    def submit(self, task: GeneratedImage, /) -> Future[LabelledAttempt]:
        """Masks and the encoded row of a painted image."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Indices of one batch, from ``first`` on; ``found`` holds the payloads that the store has."""

    first: int
    indices: Sequence[int]
    found: Mapping[int, bytes]

    @property
    def missing(self) -> list[int]:
        """The indices that the store has not."""
        return [index for index in self.indices if index not in self.found]


class BatchJob:
    """A batch on its way through generator and mask_workers; what is poor is painted again, up to the recipe's attempts."""

    def __init__(
        self, batch: Batch, recipe: Recipe, generator: ImageGenerator, labeller: Refining, rejected: Counter[str]
    ) -> None:
        self._batch, self._recipe, self._rejected = batch, recipe, rejected
        self._generator, self._labeller = generator, labeller
        self._best: dict[int, LabelledAttempt] = {}
        self._wanted = batch.missing
        self._attempt = 0
        self._refining: list[Future[LabelledAttempt]] = []
        self._paint()

    def advance(self) -> None:
        """Paints again what is known to be poor, without waiting for what is not known yet."""
        if self._refining and all(future.done() for future in self._refining):
            self._judge()

    def end(self) -> tuple[Batch, dict[int, bytes]]:
        """The batch and what was made for it.

        Raises:
            ModelError: no attempt at a sample gave a usable heat map.
        """
        while self._refining:
            self._judge()
        for index, best in self._best.items():
            warn_of_missing_masks(f"{self._recipe.digest}-{index:08d}", best.maskless, self._recipe)
        return self._batch, {index: self._best[index].payload for index in self._batch.missing}

    def _paint(self) -> None:
        painted = self._generator.paint(self._batch.first, self._wanted, self._attempt) if self._wanted else []
        self._refining = [self._labeller.submit(one) for one in painted]

    def _judge(self) -> None:
        """Keeps what is better than earlier attempts, and begins the next attempt at what is still poor."""
        is_last = self._attempt + 1 == self._recipe.max_attempts
        for refined in [future.result() for future in self._refining]:
            if refined.error is not None:
                if is_last and refined.index not in self._best:
                    raise refined.error
                continue
            # Ties go to the earlier one, so that a hopeless sample is its first attempt.
            best = self._best.get(refined.index)
            if best is None or refined.quality > best.quality:
                self._best[refined.index] = refined
        self._wanted = [] if is_last else [index for index in self._wanted if self._is_poor(self._best.get(index))]
        self._attempt += 1
        self._paint()

    def _is_poor(self, best: LabelledAttempt | None) -> bool:
        """Whether the best attempt so far is not good enough; counts why."""
        if best is None:
            self._rejected["no usable heat map"] += 1
        elif best.maskless:
            self._rejected["a class has no mask"] += 1
        elif best.quality < self._recipe.min_quality:
            self._rejected["quality under min_quality"] += 1
        else:
            return False
        return True


class WriteJob:
    """A finished batch on its way into the store."""

    def __init__(self, batch: Batch, made: dict[int, bytes], stages: Pipeline) -> None:
        self._batch, self._made = batch, made
        self._stored = stages.store(made)

    def advance(self) -> None:
        """Nothing to do but wait."""

    def end(self) -> tuple[Batch, dict[int, bytes]]:
        """The batch, stored."""
        for future in self._stored:
            future.result()
        return self._batch, self._made
