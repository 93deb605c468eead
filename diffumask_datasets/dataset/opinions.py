"""The column ``opinions``: what models said of the samples of a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from diffumask_datasets.dataset.opened import OpenDataset
from diffumask_datasets.dataset.schema import OPINIONS, Row

__all__ = ["Scores", "with_opinions"]

Scores = Mapping[str, Mapping[str, float]]
"""Sample id → filter → score."""


def with_opinions(source: OpenDataset, scores: Scores) -> OpenDataset:
    """The same dataset with the column ``opinions``; scores that it has already stay unless they are given anew."""
    columns = tuple(dict.fromkeys((*source.columns, OPINIONS)))

    def read(split: str, start: int, names: Sequence[str]) -> Iterator[Row]:
        if OPINIONS not in names:
            yield from source.read_columns(split, start, names)
            return
        for row in source.read_columns(split, start, [name for name in names if name in source.columns]):
            yield {**row, OPINIONS: {**(row.get(OPINIONS) or {}), **scores.get(row["sample_id"], {})}}

    return dataclasses.replace(source, columns=columns, read_columns=read)
