"""Rows that others made may name files of their own dataset, and no other file of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc
from huggingface_hub.constants import HF_HUB_CACHE

from diffumask_datasets.errors import DataError, short_repr

__all__ = ["own_files_only"]

PICTURES = ("image", "label")
ROWS_AT_ONCE = 1000


def own_files_only(rows: Any, dataset: str) -> Any:
    """The undecoded rows of a dataset, which is a folder or a Hub id; those of a stream are checked as they are read.

    Raises:
        DataError: a row without bytes that names a file outside the folder and outside the caches of the Hub.
    """
    roots = [_absolute(place) for place in (dataset, HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE)]
    if isinstance(rows, datasets.IterableDataset):
        return rows.map(_checked, fn_kwargs={"roots": roots}, features=rows.features)
    for batch in rows.select_columns(list(PICTURES)).with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        for column in PICTURES:
            for chunk in batch.column(column).chunks:
                missing = pc.is_null(chunk.field("bytes"))
                _check(chunk.field("path").filter(missing).to_pylist(), roots)
    return rows


def _checked(row: dict[str, Any], roots: Sequence[str]) -> dict[str, Any]:
    cells = [row[column] for column in PICTURES]
    _check([cell["path"] for cell in cells if cell and cell["bytes"] is None], roots)
    return row


def _check(paths: Sequence[str | None], roots: Sequence[str]) -> None:
    for path in paths:
        if path and not any(os.path.commonpath([root, _absolute(path)]) == root for root in roots):
            raise DataError(
                f"a row names the file {short_repr(path)}, which is none of its dataset's, and is not opened; put the bytes "
                "of the pictures into the rows, as to_parquet of datasets does"
            )


def _absolute(path: str | Path) -> str:
    # Links are not followed: who puts a link into a folder can put the file there.
    return os.path.abspath(Path(path).expanduser())
