"""Where samples come from: a map-style dataset, a stream, or a folder made by ``generate``. Images stay encoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.dataset.names import check_columns, ordered_splits, read_class_names
from diffumask_datasets.dataset.parquet import count_rows, read_features, read_rows, split_files
from diffumask_datasets.dataset.schema import HEAT_MAPS, REQUIRED, Row
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """The splits of a dataset, each to be read from any row on.

    ``sizes`` holds the number of rows where it is known. ``identity`` changes when the dataset does, as far as that
    can be told without reading it; plain JSON.
    """

    contents: Contents
    sizes: Mapping[str, int | None]
    identity: Mapping[str, Any]
    rows: Callable[[str, int], Iterator[Row]]


def open_source(source: Any, *, num_samples: int | None = None) -> Source:
    """The source of an export; ``num_samples`` is the most that is taken from each split.

    Raises:
        ExportError: no dataset, an empty one, or one without the columns and class names that an export needs.
    """
    if num_samples is not None and num_samples < 1:
        raise ExportError(f"num_samples: expected a number from 1 up, got {num_samples}")
    if isinstance(source, str | Path):
        opened = _of_folder(Path(source).expanduser())
    elif isinstance(source, datasets.Dataset | datasets.IterableDataset):
        opened = _of_splits({_split_name(source): source})
    elif isinstance(source, Mapping) and source:
        opened = _of_splits(source)
    else:
        raise ExportError(f"cannot export a {type(source).__name__}: give a dataset, a dict of splits or a folder")
    if not any(size is None or size > 0 for size in opened.sizes.values()):
        raise ExportError("the dataset is empty: there is nothing to export")
    return opened if num_samples is None else _cut(opened, num_samples)


def _of_folder(folder: Path) -> Source:
    files = split_files(folder)
    every = [path for paths in files.values() for path in paths]
    features = read_features(every)
    # Soft maps stay behind: they are half of the bytes, and no format has a place for them.
    columns = [name for name in features if name != HEAT_MAPS]
    return _source(
        features,
        count_rows(files),
        {path.name: path.stat().st_size for path in every},
        lambda split, start: read_rows(files[split], start=start, columns=columns),
    )


def _of_splits(splits: Mapping[str, Any]) -> Source:
    features = next(iter(splits.values())).features
    if features is None:
        raise ExportError("the stream names no features; give them: stream.cast(features)")
    encoded = {name: _encoded(split) for name, split in splits.items()}
    sizes = {name: getattr(split, "num_rows", None) for name, split in splits.items()}
    ends = {name: _ends(split) for name, split in encoded.items() if sizes[name]}
    return _source(features, sizes, ends, lambda split, start: _rows_from(encoded[split], start))


def _source(
    features: datasets.Features,
    sizes: Mapping[str, int | None],
    ends: Mapping[str, Any],
    rows: Callable[[str, int], Iterator[Row]],
) -> Source:
    check_columns(features, REQUIRED)
    order = ordered_splits(sizes)
    contents = Contents(read_class_names(features), tuple(order))
    return Source(contents, {name: sizes[name] for name in order}, {"sizes": dict(sizes), "ends": dict(ends)}, rows)


def _encoded(split: Any) -> Any:
    if HEAT_MAPS in split.features:
        split = split.remove_columns(HEAT_MAPS)
    split = split.with_format(None)
    for column in ("image", "label"):
        split = split.cast_column(column, datasets.Image(decode=False))
    return split


def _rows_from(split: Any, start: int) -> Iterator[Row]:
    if isinstance(split, datasets.Dataset):
        return iter(split.select(range(start, split.num_rows)))
    return iter(split.skip(start))


def _ends(split: Any) -> list[str]:
    """Ids of the first and the last sample: another dataset of the same size is told from this one."""
    ids = split.select_columns("sample_id").select([0, split.num_rows - 1])
    return [row["sample_id"] for row in ids]


def _split_name(split: Any) -> str:
    # A slice is called train[:8].
    return re.split(r"\W", str(split.split or "train"))[0]


def _cut(source: Source, most: int) -> Source:
    sizes = {name: None if size is None else min(size, most) for name, size in source.sizes.items()}
    return Source(
        source.contents,
        sizes,
        {**source.identity, "num_samples": most},
        lambda split, start: islice(source.rows(split, start), max(most - start, 0)),
    )
