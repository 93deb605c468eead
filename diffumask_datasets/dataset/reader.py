"""Opens a finished dataset: a folder, a URL, a Hub dataset, or datasets of the library ``datasets`` in memory or as streams.

Rows have the columns of :mod:`diffumask_datasets.dataset.schema`, images encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.dataset.names import check_columns, ordered_splits, read_class_names
from diffumask_datasets.dataset.opened import COLUMNS, OpenDataset, ReadColumns
from diffumask_datasets.dataset.parquet import open_splits, read_rows, split_files
from diffumask_datasets.dataset.schema import REQUIRED, Row
from diffumask_datasets.dataset.shared_recipe import parse_shared_recipe
from diffumask_datasets.dataset.storage import Location, dataset_location, join, name_of, read_file
from diffumask_datasets.errors import ExportError, short_repr
from diffumask_datasets.recipes.file import RECIPE_FILE

__all__ = ["COLUMNS", "OpenDataset", "has_data", "open_dataset"]

ROWS_AT_ONCE = 16


def open_dataset(source: Any, *, columns: Sequence[str] = COLUMNS, streams: bool = False) -> OpenDataset:
    """Opens a dataset.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, a ``Dataset``, a stream, or a dict of such splits.
        columns: The columns that it must have.
        streams: Whether it may be a stream, which does not tell how many rows it has.

    Returns:
        The dataset, whose rows are read when they are asked for.

    Raises:
        ExportError: No dataset, an empty one, or one that lacks columns or class names.
        RecipeError: Its ``recipe.yaml`` is not legal.
        HubError: The Hub has no such dataset, refuses it, or cannot be reached.
    """
    if isinstance(source, str | Path):
        opened = _of_location(dataset_location(source), columns)
    elif isinstance(source, datasets.Dataset | datasets.IterableDataset):
        opened = _of_splits({_split_name(source): source}, columns)
    elif isinstance(source, Mapping) and source and all(map(_is_split, source.values())):
        opened = _of_splits(source, columns)
    else:
        kind = type(source).__name__
        raise ExportError(
            f"expected a dataset folder, URL or Hub id, a datasets.Dataset or a dict of splits, got {kind}"
        )
    if None in opened.sizes.values() and not streams:
        raise ExportError("a stream does not tell how many rows it has; give a map-style dataset or a folder")
    if not any(size is None or size > 0 for size in opened.sizes.values()):
        raise ExportError("the dataset is empty")
    return opened


def has_data(location: Location) -> bool:
    """Whether there are rows beside a recipe."""
    return bool(split_files(location))


def _of_location(location: Location, columns: Sequence[str]) -> OpenDataset:
    splits = open_splits(location)
    recipe = read_file(join(location, RECIPE_FILE), what="the recipe", error=ExportError)
    fields = None if recipe is None else parse_shared_recipe(recipe, where=f"the recipe of {str(location)!r}")
    opened = _checked(
        location,
        splits.features,
        columns,
        sizes=splits.counts,
        ends={name_of(path): size for path, size in splits.sizes.items()},
        recipe_fields=fields,
        read=lambda split, start, names: read_rows(splits.files[split], start=start, columns=names),
    )
    _check_same_classes(opened)
    return opened


def _check_same_classes(opened: OpenDataset) -> None:
    # What is made of the dataset has the names of the recipe and the numbers of the rows.
    fields, names = opened.recipe_fields, list(opened.classes)
    if fields is not None and fields.get("classes") != names:
        raise ExportError(
            f"{opened.location}: {RECIPE_FILE} has the classes {short_repr(fields.get('classes'))} and the data has "
            f"{short_repr(names)}; they do not belong together"
        )


def _of_splits(splits: Mapping[str, Any], columns: Sequence[str]) -> OpenDataset:
    (first_name, first), *others = splits.items()
    if first.features is None:
        raise ExportError("the stream names no features; give them: stream.cast(features)")
    for name, split in others:
        if split.features != first.features:
            raise ExportError(f"the splits {first_name} and {name} have different columns; give both the same")
    check_columns(first.features, REQUIRED)
    encoded = {name: _encoded(split) for name, split in splits.items()}
    sizes = {name: getattr(split, "num_rows", None) for name, split in splits.items()}
    return _checked(
        None,
        first.features,
        columns,
        sizes=sizes,
        ends={name: _ends(split) for name, split in encoded.items() if sizes[name]},
        recipe_fields=None,
        read=lambda split, start, names: _rows_from(encoded[split].select_columns(list(names)), start),
    )


def _checked(
    location: Location | None,
    features: datasets.Features,
    columns: Sequence[str],
    *,
    sizes: Mapping[str, int | None],
    ends: Mapping[str, Any],
    recipe_fields: Mapping[str, Any] | None,
    read: ReadColumns,
) -> OpenDataset:
    check_columns(features, columns)
    ordered = {name: sizes[name] for name in ordered_splits(sizes)}
    identity = {"sizes": dict(sizes), "ends": dict(ends)}
    return OpenDataset(location, read_class_names(features), ordered, tuple(features), identity, recipe_fields, read)


def _is_split(value: object) -> bool:
    return isinstance(value, datasets.Dataset | datasets.IterableDataset)


def _split_name(split: Any) -> str:
    # A slice is called train[:8].
    return re.split(r"\W", str(split.split or "train"))[0]


def _encoded(split: Any) -> Any:
    split = split.with_format(None)
    for column in ("image", "label"):
        split = split.cast_column(column, datasets.Image(decode=False))
    return split


def _rows_from(split: Any, start: int) -> Iterator[Row]:
    if not isinstance(split, datasets.Dataset):
        yield from split.skip(start)
        return
    # As arrow, so that datasets does not decode the heat maps.
    for batch in split.select(range(start, split.num_rows)).with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _ends(split: Any) -> list[str]:
    """Ids of the first and the last sample: another dataset of the same size is told from this one."""
    ids = split.select_columns("sample_id").select([0, split.num_rows - 1])
    return [row["sample_id"] for row in ids]
