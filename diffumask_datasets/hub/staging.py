"""The files of a dataset repository, written to a local folder: the same dataset gives the same bytes every time.

data/train-00000-of-00001.parquet        config default
instance/…  detection/…                  the views other trainers read
id2label.json  recipe.yaml
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diffumask_datasets.dataset.reader import DatasetSource
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.views import CONFIG_FOLDERS, view_features, view_row
from diffumask_datasets.recipes.file import RECIPE_FILE, recipe_text
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import id2label

__all__ = ["stage"]

ROWS_PER_FILE = 1000
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 64 * 2**20
"""The viewer refuses row groups over 286 MiB and is quick below 100."""

CHUNKING_SINCE = 21
"""The first pyarrow that cuts pages by content: images shared by several configs are then stored once on the Hub."""


def stage(source: DatasetSource, folder: Path, see: Callable[[str, Row], object]) -> None:
    """Writes everything but the card into ``folder``; ``see(split, row)`` is called for each row on the way."""
    for place in CONFIG_FOLDERS.values():
        (folder / place).mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for split, size in source.sizes.items():
        rows = _watched(source.split_rows(split, seen), split, see)
        count = -(-size // ROWS_PER_FILE)
        for number in range(count):
            name = f"{split}-{number:05d}-of-{count:05d}.parquet"
            _write_part(source, folder, name, islice(rows, ROWS_PER_FILE))
    labels = json.dumps(id2label(source.classes), indent=2, ensure_ascii=False)
    (folder / "id2label.json").write_text(labels + "\n", encoding="utf-8")
    if source.recipe_fields is not None:
        (folder / RECIPE_FILE).write_text(_recipe(source), encoding="utf-8")


def _watched(rows: Iterator[Row], split: str, see: Callable[[str, Row], object]) -> Iterator[Row]:
    for row in rows:
        see(split, row)
        yield row


def _write_part(source: DatasetSource, folder: Path, name: str, rows: Iterator[Row]) -> None:
    with ExitStack() as stack:
        writers = {}
        for view, place in CONFIG_FOLDERS.items():
            schema = view_features(view, classes=source.classes, heat_maps=source.heat_maps).arrow_schema
            writer = pq.ParquetWriter(folder / place / name, schema, write_page_index=True, **_chunking())
            writers[view] = (stack.enter_context(writer), schema)
        for group in _groups(rows):
            for view, (writer, schema) in writers.items():
                views = [view_row(row, view, classes=source.classes, heat_maps=source.heat_maps) for row in group]
                writer.write_table(pa.Table.from_pylist(views, schema=schema))


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    held = 0
    for row in rows:
        size = _bytes_of(row)
        if group and (len(group) == ROWS_PER_GROUP or held + size > BYTES_PER_GROUP):
            yield group
            group, held = [], 0
        group.append(row)
        held += size
    if group:
        yield group


def _bytes_of(row: Row) -> int:
    cells = [row["image"], row["label"], *(row.get("heat_maps") or {"map": []})["map"]]
    return sum(len(cell["bytes"]) for cell in cells)


def _chunking() -> dict[str, bool]:
    return {"use_content_defined_chunking": True} if int(pa.__version__.split(".")[0]) >= CHUNKING_SINCE else {}


def _recipe(source: DatasetSource) -> str:
    fields = dict(source.recipe_fields or {})
    recipe = Recipe.within(fields)
    return recipe_text(recipe, sizes=source.sizes, keep_heat_maps=source.heat_maps, skip=fields.get("skip") or ())
