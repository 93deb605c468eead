"""The parquet files of a dataset, be it a folder, a URL or on the Hub; they may be damaged or somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.storage import Location, access, join, list_files, name_of, open_binary
from diffumask_datasets.errors import DiffuMaskError, ExportError

__all__ = ["ParquetSplits", "open_splits", "read_footers", "read_rows", "split_files"]

PATTERN = "*-*-of-*.parquet"
"""The names that parquet files of datasets have: ``train-00000-of-00002.parquet``."""

ROWS_PER_READ = 16

LONGEST_LIST = 100_000
"""Items in one list of a column. Parquet stores repetition in a few bytes; as Python objects they would fill the memory."""

_FEATURE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, RecursionError, NotImplementedError)
"""What ``datasets`` raises at a description of features that is none."""


@dataclass(frozen=True)
class ParquetSplits:
    """The parquet files of a dataset: those of each split in order, their sizes in bytes, and what their footers say."""

    files: Mapping[str, Sequence[Location]]
    sizes: Mapping[Location, int]
    features: datasets.Features
    counts: Mapping[str, int]


def split_files(folder: Location) -> dict[str, list[Location]]:
    """Split → its parquet files in order; nothing where there are none.

    Raises:
        ExportError, HubError: the location cannot be reached.
    """
    return _by_split(list_files(join(folder, "data"), PATTERN))


def open_splits(folder: Location) -> ParquetSplits:
    """The splits of a dataset folder, of which the footers are read.

    Raises:
        ExportError: there is no finished dataset, a file is no parquet, or they have different columns.
        HubError: the Hub has no such dataset, or cannot be reached.
    """
    sizes = list_files(join(folder, "data"), PATTERN)
    if not sizes:
        raise ExportError(f"{folder} is no dataset folder: expected data/*.parquet, as diffumask generate writes them")
    files = _by_split(sizes)
    features, rows = read_footers(list(sizes))
    counts = {split: sum(rows[path] for path in paths) for split, paths in files.items()}
    return ParquetSplits(files, sizes, features, counts)


def read_footers(files: Sequence[Location]) -> tuple[datasets.Features, dict[Location, int]]:
    """The features that all these files have, and file → number of rows.

    Raises:
        ExportError: a file that is no parquet, one whose columns differ from those of the first, or no features.
    """
    footers = {path: _footer(path) for path in files}
    first, *others = files
    schema = footers[first].schema.to_arrow_schema()
    for path in others:
        if not footers[path].schema.to_arrow_schema().equals(schema):
            raise ExportError(
                f"{path} has other columns than {first}: the files of a dataset have the same; remove one"
            )
    try:
        features = datasets.Features.from_arrow_schema(schema)
    except _FEATURE_ERRORS as error:
        raise ExportError(f"{first} describes no features that datasets knows: {_line(error)}") from error
    return features, {path: footer.num_rows for path, footer in footers.items()}


def read_rows(files: Iterable[Location], *, start: int = 0, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Reads the rows of parquet files, a few in memory at a time.

    Args:
        files: The files, in order.
        start: The number of the first row.
        columns: The columns that are read; default: all.

    Returns:
        The rows.

    Raises:
        ExportError: A damaged file.
    """
    for path in files:
        with _readable(path), open_binary(path) as file, pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                if start < size:
                    for batch in parquet.iter_batches(ROWS_PER_READ, row_groups=[group], columns=columns):
                        yield from _python_rows(batch.slice(min(start, batch.num_rows)), path)
                        start = max(start - batch.num_rows, 0)
                else:
                    start -= size


def _python_rows(batch: pa.RecordBatch, path: Location) -> list[Row]:
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


def _by_split(files: Iterable[Location]) -> dict[str, list[Location]]:
    splits: dict[str, list[Location]] = {}
    for path in files:
        splits.setdefault(name_of(path).rsplit("-", 3)[0], []).append(path)
    return splits


def _footer(path: Location) -> pq.FileMetaData:
    with _readable(path), open_binary(path) as file:
        return pq.read_metadata(file)


@contextmanager
def _readable(path: Location) -> Iterator[None]:
    try:
        with access(path) if isinstance(path, str) else nullcontext():
            yield
    except DiffuMaskError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise ExportError(f"cannot read {path}: {_line(error)}; copy the dataset anew, the file is damaged") from error


def _line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
