"""Opens a finished dataset for review and for the Hub: a folder, a ``datasets.Dataset`` or a dict of splits.

Rows come as :mod:`columns` speaks of them, images encoded; nothing is decoded on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq

from diffumask_datasets.columns import HEAT_MAPS, Row, class_names, encoded_bytes, features_of
from diffumask_datasets.errors import ExportError
from diffumask_datasets.folder import count_rows, read_rows, split_files
from diffumask_datasets.plan import SPLIT_STARTS
from diffumask_datasets.recipe_file import RECIPE_FILE, read_recipe_file

__all__ = ["DatasetSource", "open_source"]

ROWS_AT_ONCE = 16

_LEGAL_ID = re.compile(r"\w[\w-]*(\.\w[\w-]*)*")


@dataclass(frozen=True)
class DatasetSource:
    """Splits of labelled rows. ``recipe_fields`` are those of its ``recipe.yaml``, None where there is none."""

    classes: tuple[str, ...]
    sizes: Mapping[str, int]
    heat_maps: bool
    recipe_fields: Mapping[str, Any] | None
    read: Callable[[str], Iterator[Row]]

    @property
    def features(self) -> datasets.Features:
        """The features of its rows."""
        return features_of(self.classes, heat_maps=self.heat_maps)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(split, row) of everything, splits in their order.

        Raises:
            ExportError: a sample id that is none, or that comes twice.
        """
        seen: set[str] = set()
        for split in self.sizes:
            for row in self.split_rows(split, seen):
                yield split, row

    def split_rows(self, split: str, seen: set[str] | None = None) -> Iterator[Row]:
        """The rows of one split, checked as in :meth:`rows`."""
        seen = set() if seen is None else seen
        for row in self.read(split):
            sample_id = row["sample_id"]
            # Ids become file names and keys.
            if not isinstance(sample_id, str) or not _LEGAL_ID.fullmatch(sample_id):
                raise ExportError(f"sample_id {sample_id!r} is none: expected letters, digits, '-', '_' and '.'")
            if sample_id in seen:
                raise ExportError(f"sample_id {sample_id!r} comes twice; every sample needs an id of its own")
            seen.add(sample_id)
            yield row


def open_source(source: Any) -> DatasetSource:
    """The dataset at a folder made by ``generate``, or a ``Dataset`` or dict of splits with the ``default`` columns.

    Raises:
        ExportError: no dataset, an empty one, or one without the columns of the config ``default``.
    """
    if isinstance(source, str | Path):
        return _of_folder(Path(source).expanduser())
    if isinstance(source, datasets.Dataset):
        # A slice is called train[:8].
        return _of_splits({re.split(r"\W", str(source.split or "train"))[0]: source})
    if isinstance(source, Mapping) and source and all(isinstance(part, datasets.Dataset) for part in source.values()):
        return _of_splits(source)
    raise ExportError(f"expected a dataset folder, a datasets.Dataset or a dict of them, got {type(source).__name__}")


def _of_folder(folder: Path) -> DatasetSource:
    files = split_files(folder)
    schemas = [pq.read_schema(paths[0]) for paths in files.values()]
    features = datasets.Features.from_arrow_schema(schemas[0])
    counts = count_rows(files)
    sizes = {name: counts[name] for name in _ordered(files)}
    recipe_file = folder / RECIPE_FILE
    fields = read_recipe_file(recipe_file) if recipe_file.is_file() else None
    return _checked(features, sizes, fields, lambda split: read_rows(files[split]))


def _of_splits(splits: Mapping[str, datasets.Dataset]) -> DatasetSource:
    features = next(iter(splits.values())).features
    sizes = {name: splits[name].num_rows for name in _ordered(splits)}
    return _checked(features, sizes, None, lambda split: _arrow_rows(splits[split]))


def _arrow_rows(split: datasets.Dataset) -> Iterator[Row]:
    # As arrow, so that datasets does not decode the images.
    for batch in split.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            for name in ("image", "label"):
                row[name] = {"bytes": encoded_bytes(row[name]), "path": None}
            yield row


def _checked(
    features: datasets.Features,
    sizes: Mapping[str, int],
    recipe_fields: Mapping[str, Any] | None,
    read: Callable[[str], Iterator[Row]],
) -> DatasetSource:
    wanted = features_of(("class",))
    missing = [name for name in wanted if name not in features]
    if missing:
        raise ExportError(f"the dataset has no column {', '.join(missing)}: give the config 'default'")
    if not sum(sizes.values()):
        raise ExportError("the dataset is empty")
    try:
        classes = class_names(features)
    except (AttributeError, KeyError, TypeError):
        raise ExportError("objects.category names no classes: make it a ClassLabel, background first") from None
    return DatasetSource(classes, sizes, HEAT_MAPS in features, recipe_fields, read)


def _ordered(names: Mapping[str, Any]) -> list[str]:
    known = [name for name in SPLIT_STARTS if name in names]
    return known + sorted(set(names) - set(known))
