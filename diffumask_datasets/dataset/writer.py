"""A dataset as a folder that plain ``datasets.load_dataset(folder)`` reads, without this package.

    out/ds/data/train-00000-of-00002.parquet …   the columns of the config ``default``
    out/ds/instance/…  README.md                 another view and the card that makes it the default, where one is asked for
    out/ds/id2label.json                         class id → name, as transformers reads it
    out/ds/recipe.yaml                           what made it; written last, so a folder that has it is whole

Everything is written beside the target and moved there in one step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from diffumask_datasets.dataset.atomic import whole_folder
from diffumask_datasets.dataset.parquet import read_rows, split_files
from diffumask_datasets.dataset.schema import Row, class_names, features_of
from diffumask_datasets.dataset.storage import Location, filesystem, remote_errors, whole_remote
from diffumask_datasets.dataset.views import CONFIG_FOLDERS, card_configs, check_shown, view_features, view_row
from diffumask_datasets.errors import ExportError
from diffumask_datasets.recipes.file import RECIPE_FILE, read_recipe_file, recipe_text
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import id2label

__all__ = ["check_target", "write_folder", "write_rows"]

ROWS_PER_FILE = 1000
ROWS_PER_GROUP = 100
"""About 50 MB at 512x512: the Hub's viewer refuses row groups over 286 MiB."""

FileContent = str | Callable[[], bytes]
"""The text of a file, or what gives its bytes."""


def check_target(output: Location) -> None:
    """Raises ExportError unless ``output`` is new, empty, or a dataset folder that this package wrote."""
    if isinstance(output, str):
        _check_remote(output)
        return
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() and not _is_ours(output):
        raise ExportError(f"{output} is not empty and not a dataset of ours: choose another --output or remove it")


def write_folder(
    output: Location,
    rows: Mapping[str, Iterable[Row]],
    *,
    recipe: Recipe,
    sizes: Mapping[str, int],
    keep_heat_maps: bool = False,
    keep_threshold_curve: bool = False,
    skip: Iterable[int] = (),
    extra_fields: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, FileContent] | None = None,
    counts: Mapping[str, int] | None = None,
    view: str = "default",
) -> None:
    """Writes the rows of each split; an earlier dataset at ``output`` is replaced once the new one is whole.

    ``sizes`` are what the recipe asks for; ``counts`` how many rows there are, where that is another number. ``skip`` are
    indices that the recipe leaves out; ``extra_fields`` are further fields of ``recipe.yaml``; ``extra_files`` maps the
    names of further files to their text, or to what gives their bytes once the rows are written. ``view`` is what
    ``load_dataset(folder)`` gives; see :func:`write_rows`.

    Raises:
        ExportError: ``output`` holds something that is not ours, or cannot be written, or an unknown view.
    """
    shown = {"keep_heat_maps": keep_heat_maps, "keep_threshold_curve": keep_threshold_curve}
    text = recipe_text(recipe, sizes=sizes, skip=skip, **shown, **(extra_fields or {}))
    features = features_of(recipe.classes, heat_maps=keep_heat_maps, threshold_curve=keep_threshold_curve)
    files = {**(extra_files or {}), RECIPE_FILE: text}
    write_rows(output, rows, features=features, counts=counts or sizes, files=files, view=view)


def write_rows(
    output: Location,
    rows: Mapping[str, Iterable[Row]],
    *,
    features: datasets.Features,
    counts: Mapping[str, int],
    files: Mapping[str, FileContent],
    view: str = "default",
) -> None:
    """Writes the rows of each split, of which there are ``counts``, and the text of ``files``, recipe.yaml among them.

    Another ``view`` than ``default`` is written too, and a card by which ``load_dataset(folder)`` gives that one;
    ``load_dataset(folder, "semantic")`` then gives the columns of ``default``.

    Raises:
        ExportError: ``output`` holds something that is not ours, or cannot be written, or an unknown view.
    """
    check_shown(view)
    check_target(output)
    with _whole(output) as draft:
        (draft / "data").mkdir()
        for split, split_rows in rows.items():
            _write_split(draft / "data", split, split_rows, schema=features.arrow_schema, size=counts[split])
        if view != "default":
            _write_view(draft, view, classes=class_names(features), counts=counts)
        labels = json.dumps(id2label(class_names(features)), indent=2, ensure_ascii=False)
        for name, content in {"id2label.json": labels + "\n", **files}.items():
            (draft / name).write_bytes(content.encode() if isinstance(content, str) else content())


def _write_view(draft: Path, view: str, *, classes: Sequence[str], counts: Mapping[str, int]) -> None:
    folder = draft / CONFIG_FOLDERS[view]
    folder.mkdir()
    schema = view_features(view, classes=classes).arrow_schema
    written = split_files(draft) if any(counts.values()) else {}
    for split, paths in written.items():
        rows = (view_row(row, view, classes=classes) for row in read_rows(paths))
        _write_split(folder, split, rows, schema=schema, size=counts[split])
    card = {"configs": card_configs((view, "default"), shown=view, splits=list(written))}
    (draft / "README.md").write_text(f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n", encoding="utf-8")


def _whole(output: Location) -> AbstractContextManager[Path]:
    return whole_remote(output, last=RECIPE_FILE) if isinstance(output, str) else whole_folder(output)


def _check_remote(url: str) -> None:
    files, path = filesystem(url)
    try:
        files.invalidate_cache()
        names = {name.rpartition("/")[2] for name in files.ls(path, detail=False)}
    except FileNotFoundError:
        return
    except remote_errors() as error:
        raise ExportError(f"cannot look at {url}: {error}; check the address and your rights") from error
    if names and not {RECIPE_FILE, "data"} <= names and names != {"data"}:
        raise ExportError(f"{url} is not empty and not a dataset of ours: choose another --output or remove it")


def _is_ours(output: Path) -> bool:
    recipe_file = output / RECIPE_FILE
    return recipe_file.is_file() and (output / "data").is_dir() and "classes" in read_recipe_file(recipe_file)


def _write_split(folder: Path, split: str, rows: Iterable[Row], *, schema: pa.Schema, size: int) -> None:
    remaining = iter(rows)
    count = -(-size // ROWS_PER_FILE)
    for number in range(count):
        path = folder / f"{split}-{number:05d}-of-{count:05d}.parquet"
        with pq.ParquetWriter(path, schema) as writer:
            for group in _groups(islice(remaining, ROWS_PER_FILE)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := list(islice(rows, ROWS_PER_GROUP)):
        yield group
