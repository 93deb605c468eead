"""Opens a finished dataset: a folder, a ``datasets.Dataset`` or a dict of splits.

Rows come as :mod:`columns` speaks of them, images encoded, each checked by :class:`diffumask_datasets.dataset.CheckedRow`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.names import check_columns, ordered_splits, read_class_names
from diffumask_datasets.dataset.parquet import count_rows, read_features, read_rows, split_files
from diffumask_datasets.dataset.schema import HEAT_MAPS, THRESHOLD_CURVE, Row, features_of
from diffumask_datasets.errors import DataError, ExportError, short_repr
from diffumask_datasets.recipes.file import RECIPE_FILE
from diffumask_datasets.recipes.shared import read_shared_recipe
from diffumask_datasets.sample import check_sample_id

__all__ = ["DatasetSource", "open_source"]

ROWS_AT_ONCE = 16

_COLUMNS = tuple(features_of(("class",)))
_OPTIONAL = (HEAT_MAPS, THRESHOLD_CURVE)


@dataclass(frozen=True)
class DatasetSource:
    """Splits of labelled rows. ``recipe_fields`` are those of its ``recipe.yaml``, None where there is none.

    ``optional`` are the optional columns that are there; ``read`` gives columns of a split, unchecked.
    """

    classes: tuple[str, ...]
    sizes: Mapping[str, int]
    optional: tuple[str, ...]
    recipe_fields: Mapping[str, Any] | None
    read: Callable[[str, Sequence[str]], Iterator[Row]]

    @property
    def heat_maps(self) -> bool:
        """Whether soft maps are kept."""
        return HEAT_MAPS in self.optional

    @property
    def features(self) -> datasets.Features:
        """The features of its rows."""
        return features_of(self.classes, heat_maps=self.heat_maps)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(split, row) of everything, splits in their order.

        Raises:
            ExportError: a row that is none of the config ``default``, or a sample id that comes twice.
        """
        seen: set[str] = set()
        for split in self.sizes:
            for row in self.split_rows(split, seen):
                yield split, row

    def split_rows(self, split: str, seen: set[str] | None = None) -> Iterator[Row]:
        """The rows of one split, checked as in :meth:`rows`."""
        seen = set() if seen is None else seen
        for given in self.read(split, (*_COLUMNS, *self.optional)):
            _check_id(given["sample_id"], seen)
            seen.add(given["sample_id"])
            yield CheckedRow.of(given, len(self.classes)).row

    def split_of_ids(self) -> dict[str, str]:
        """Sample id → split, in the order of :meth:`rows`; nothing else is read.

        Raises:
            ExportError: a sample id that is none, or that comes twice.
        """
        found: dict[str, str] = {}
        for split in self.sizes:
            for row in self.read(split, ("sample_id",)):
                _check_id(row["sample_id"], found)
                found[row["sample_id"]] = split
        return found

    def find(self, sample_id: str, split: str) -> Row | None:
        """The row of ``split`` with that id, checked; None where there is none.

        Raises:
            ExportError: as :meth:`rows`.
        """
        rows = self.read(split, (*_COLUMNS, *self.optional)) if split in self.sizes else iter(())
        found = next((row for row in rows if row["sample_id"] == sample_id), None)
        return None if found is None else CheckedRow.of(found, len(self.classes)).row


def _check_id(sample_id: Any, seen: Container[str]) -> None:
    try:
        check_sample_id(sample_id)
    except DataError as error:
        raise ExportError(str(error)) from error
    if sample_id in seen:
        raise ExportError(f"sample_id {sample_id!r} comes twice; every sample needs an id of its own")


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
    features = read_features([path for paths in files.values() for path in paths])
    fields = read_shared_recipe(folder) if (folder / RECIPE_FILE).is_file() else None
    opened = _checked(features, count_rows(files), fields, lambda split, names: read_rows(files[split], columns=names))
    _check_same_classes(folder, opened)
    return opened


def _check_same_classes(folder: Path, opened: DatasetSource) -> None:
    # What is made of the folder has the names of the recipe and the numbers of the rows.
    fields, names = opened.recipe_fields, list(opened.classes)
    if fields is not None and fields.get("classes") != names:
        raise ExportError(
            f"{folder}: {RECIPE_FILE} has the classes {short_repr(fields.get('classes'))} and the data has "
            f"{short_repr(names)}; they do not belong together"
        )


def _of_splits(splits: Mapping[str, datasets.Dataset]) -> DatasetSource:
    first, *others = splits.items()
    for name, split in others:
        if split.features != first[1].features:
            raise ExportError(f"the splits {first[0]} and {name} have different columns; give both the same")
    sizes = {name: split.num_rows for name, split in splits.items()}
    return _checked(first[1].features, sizes, None, lambda split, names: _arrow_rows(splits[split], names))


def _arrow_rows(split: datasets.Dataset, names: Sequence[str]) -> Iterator[Row]:
    # As arrow, so that datasets does not decode the images.
    for batch in split.select_columns(list(names)).with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _checked(
    features: datasets.Features,
    sizes: Mapping[str, int],
    recipe_fields: Mapping[str, Any] | None,
    read: Callable[[str, Sequence[str]], Iterator[Row]],
) -> DatasetSource:
    check_columns(features, _COLUMNS)
    ordered = {name: sizes[name] for name in ordered_splits(sizes)}
    if not sum(ordered.values()):
        raise ExportError("the dataset is empty")
    optional = tuple(name for name in _OPTIONAL if name in features)
    return DatasetSource(read_class_names(features), ordered, optional, recipe_fields, read)
