"""How many samples are requested of which split, and the shards they are made in."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from diffumask_datasets.errors import RecipeError, short_repr, suggestion

__all__ = ["EXTENT", "SPLIT_STARTS", "Shard", "ShardNumber", "SplitPlan", "split_of"]

Shard = tuple[int, int]
"""Indices start ≤ k < stop."""

SPLIT_STARTS: Mapping[str, int] = {"train": 0, "validation": 90_000_000, "test": 95_000_000}
"""Each split has indices of its own, so that splits share no seed and growing one leaves the others as they are."""

_SPLIT_STOPS: Mapping[str, int] = {"train": 90_000_000, "validation": 95_000_000, "test": 100_000_000}


EXTENT = ("num_samples", "splits", "skip", "keep_heat_maps", "keep_threshold_curve")
"""Fields beside the recipe's own: how much is requested and what is shown."""

MAX_SHARDS = 64
MAX_SKIPPED = 100_000
ENDLESS_SHARD = 1000
"""Samples in each shard of an endless stream: read in order by one reader, dealt out among many."""


def split_of(index: int) -> str:
    """The split whose indices hold ``index``."""
    return next((name for name, stop in _SPLIT_STOPS.items() if SPLIT_STARTS[name] <= index < stop), "test")


@dataclass(frozen=True, slots=True)
class ShardNumber:
    """Shard ``index`` (from 0) of ``count``: the share of one machine.

    Raises:
        RecipeError: a count under 1, or an index that is not under the count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise RecipeError(f"shard {self}: expected i/n with i from 0 to n - 1, e.g. 0/8 … 7/8")

    @classmethod
    def parse(cls, text: str) -> ShardNumber:
        """Reads ``i/n``."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise RecipeError(f"shard {text!r}: expected i/n with i from 0 to n - 1, e.g. 0/8 … 7/8")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Samples requested per split; None stands for without end. Indices in ``skip`` are left out and not counted.

    Raises:
        RecipeError: unknown splits, sizes that are not positive or exceed the split's indices (through :meth:`of`).
    """

    sizes: Mapping[str, int | None]
    num_shards: int | None = None
    batch_size: int = 1
    skip: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        num_samples: int | None = None,
        splits: Mapping[str, int] | None = None,
        num_shards: int | None = None,
        batch_size: int = 1,
        skip: Sequence[int] | None = None,
    ) -> SplitPlan:
        """The plan for ``num_samples`` in ``train``, or for the sizes in ``splits``; endless ``train`` without either."""
        if num_samples is not None and splits is not None:
            raise RecipeError("give num_samples or splits, not both: num_samples=8 means splits={'train': 8}")
        if splits is not None and not isinstance(splits, Mapping):
            raise RecipeError(f"splits: expected sizes like {{'train': 80}}, got {short_repr(splits)}")
        sizes: dict[str, int | None] = dict(splits) if splits is not None else {"train": num_samples}
        if not sizes:
            raise RecipeError("splits: name at least one, e.g. {'train': 80, 'validation': 20}")
        for name, size in sizes.items():
            _check_size(name, size)
        if num_shards is not None and num_shards < 1:
            raise RecipeError(f"num_shards: expected a number from 1 up, got {num_shards}")
        return cls(sizes, num_shards, batch_size, _checked_skip(skip or ()))

    def check_finite(self) -> None:
        """Raises RecipeError where a split has no size, which only a stream can do without."""
        for name, size in self.sizes.items():
            if size is None:
                raise RecipeError(
                    f"split {name!r} has no size: give num_samples=..., or streaming=True for an endless stream"
                )

    def shards(self) -> Iterator[tuple[str, list[Shard]]]:
        """(split, its shards): contiguous ranges in order, cut between batches where there are batches enough."""
        for name, size in self.sizes.items():
            start = SPLIT_STARTS[name]
            if size is None:
                stop = _SPLIT_STOPS[name]
                shards = [(first, first + ENDLESS_SHARD) for first in range(start, stop, ENDLESS_SHARD)]
            else:
                shards = self._cut(start, self._extent(start, size), self.num_shards)
            yield name, self._wanted(name, shards)

    def range_of(self, split: str, number: ShardNumber) -> Shard:
        """The indices of a split that are the share of shard ``number``, skipped ones included; an empty range for none.

        Raises:
            RecipeError: the split has no size.
        """
        self.check_finite()
        start, size = SPLIT_STARTS[split], self.sizes[split] or 0
        extent = self._extent(start, size)
        shards = self._cut(start, extent, number.count)
        return shards[number.index] if number.index < len(shards) else (start + extent, start + extent)

    def shard(self, number: ShardNumber) -> dict[str, list[Shard]]:
        """Split → what shard ``number`` makes of it: disjoint between shards, together everything, in order."""
        ranges = {split: self.range_of(split, number) for split in self.sizes}
        return {
            split: self._wanted(split, [(start, stop)] if start < stop else [])
            for split, (start, stop) in ranges.items()
        }

    def _wanted(self, split: str, shards: list[Shard]) -> list[Shard]:
        skipped = sorted(index for index in self.skip if SPLIT_STARTS[split] <= index < _SPLIT_STOPS[split])
        return _without(shards, skipped) if skipped else shards

    def _extent(self, start: int, size: int) -> int:
        """How many indices from ``start`` on hold ``size`` that are not skipped."""
        stop = start + size
        for index in sorted(self.skip):
            if start <= index < stop:
                stop += 1
        return stop - start

    def _cut(self, start: int, size: int, wanted: int | None) -> list[Shard]:
        batches = -(-size // self.batch_size)
        grain = self.batch_size if wanted is None or wanted <= batches else 1
        grains = -(-size // grain)
        count = min(wanted or MAX_SHARDS, grains)
        edges = [min(size, (grains * part // count) * grain) for part in range(count + 1)]
        return [(start + first, start + last) for first, last in itertools.pairwise(edges)]


def _without(shards: Sequence[Shard], skipped: Sequence[int]) -> list[Shard]:
    """The shards with holes where indices are skipped: more of them, none empty."""
    kept = []
    for start, stop in shards:
        inside = skipped[bisect.bisect_left(skipped, start) : bisect.bisect_left(skipped, stop)]
        edges = [start - 1, *inside, stop]
        kept += [(before + 1, after) for before, after in itertools.pairwise(edges) if before + 1 < after]
    return kept


def _checked_skip(skip: Collection[int]) -> frozenset[int]:
    last = _SPLIT_STOPS["test"]
    if not isinstance(skip, Iterable) or not all(type(index) is int and 0 <= index < last for index in skip):
        raise RecipeError(f"skip: expected indices, as in sample ids, from 0 to {last - 1}")
    if len(skip) > MAX_SKIPPED:
        raise RecipeError(f"skip: {len(skip)} indices, expected {MAX_SKIPPED} at most")
    return frozenset(skip)


def _check_size(name: str, size: int | None) -> None:
    if name not in SPLIT_STARTS:
        raise RecipeError(
            f"unknown split {name!r}{suggestion(str(name), SPLIT_STARTS)}; legal: {', '.join(SPLIT_STARTS)}"
        )
    most = _SPLIT_STOPS[name] - SPLIT_STARTS[name]
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= most):
        raise RecipeError(f"split {name!r}: expected a number of samples from 1 to {most}, got {short_repr(size)}")
