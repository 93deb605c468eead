"""The parquet files of a dataset folder, which may be damaged or somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.errors import ExportError

__all__ = ["count_rows", "read_features", "read_rows", "split_files"]

ROWS_PER_READ = 16

LONGEST_LIST = 100_000
"""Items in one list of a column. Parquet stores repetition in a few bytes; as Python objects they would fill the memory."""

_FEATURE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, NotImplementedError)
"""What ``datasets`` raises at a description of features that is none."""


def split_files(folder: Path) -> dict[str, list[Path]]:
    """Split → its parquet files in order.

    Raises:
        ExportError: there is no finished dataset folder.
    """
    files = sorted((folder / "data").glob("*-*-of-*.parquet"))
    if not files:
        raise ExportError(f"{folder} is no dataset folder: expected data/*.parquet, as diffumask generate writes them")
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(path.stem.rsplit("-", 3)[0], []).append(path)
    return splits


def count_rows(files: Mapping[str, Iterable[Path]]) -> dict[str, int]:
    """Split → number of rows in its parquet files.

    Raises:
        ExportError: a file that is no parquet.
    """
    return {split: sum(_rows_in(path) for path in paths) for split, paths in files.items()}


def read_features(files: Iterable[Path]) -> datasets.Features:
    """The features that all these files have.

    Raises:
        ExportError: a file that is no parquet, one whose columns differ from those of the first, or no features.
    """
    first, *others = files
    schema = _schema(first)
    for path in others:
        if not _schema(path).equals(schema):
            raise ExportError(
                f"{path} has other columns than {first}: the files of a dataset have the same; remove one"
            )
    try:
        return datasets.Features.from_arrow_schema(schema)
    except _FEATURE_ERRORS as error:
        raise ExportError(f"{first} describes no features that datasets knows: {_line(error)}") from error


def read_rows(files: Iterable[Path], *, start: int = 0, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of these parquet files from number ``start`` on, a few in memory at a time.

    Raises:
        ExportError: a damaged file.
    """
    for path in files:
        with _readable(path), pq.ParquetFile(path) as parquet:
            for group in range(parquet.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                if start < size:
                    for batch in parquet.iter_batches(ROWS_PER_READ, row_groups=[group], columns=columns):
                        yield from _python_rows(batch.slice(min(start, batch.num_rows)), path)
                        start = max(start - batch.num_rows, 0)
                else:
                    start -= size


def _python_rows(batch: pa.RecordBatch, path: Path) -> list[Row]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _longest_list(column) > LONGEST_LIST:
            raise ExportError(f"{path}: a row has over {LONGEST_LIST} items in the column {name}; drop the row")
    rows: list[Row] = batch.to_pylist()
    return rows


def _longest_list(column: pa.Array) -> int:
    """The most items that one list has, however deep."""
    if pa.types.is_struct(column.type):
        return max((_longest_list(column.field(place)) for place in range(column.type.num_fields)), default=0)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pa.compute.max(pa.compute.list_value_length(column)).as_py() or 0
        return max(lengths, _longest_list(column.flatten()))
    return 0


def _rows_in(path: Path) -> int:
    with _readable(path):
        return int(pq.read_metadata(path).num_rows)


def _schema(path: Path) -> pa.Schema:
    with _readable(path):
        return pq.read_schema(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise ExportError(f"cannot read {path}: {_line(error)}; copy the dataset anew, the file is damaged") from error


def _line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
