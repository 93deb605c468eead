"""Writes a dataset that plain ``datasets.load_dataset(folder)`` reads, without this package.

    out/ds/data/train-00000-of-00002.parquet …   the columns of the config ``default``
    out/ds/instance/…  README.md                 another view and the card that makes it the default, where one is asked for
    out/ds/id2label.json                         class id → name, as transformers reads it
    out/ds/recipe.yaml                           what made it; written last, so a dataset that has it is whole

Everything is written elsewhere and put in place in one step, or uploaded where the target is a URL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from diffumask_datasets.dataset.atomic import atomic_folder
from diffumask_datasets.dataset.decisions import DECISIONS_FILE
from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, class_names, features_of, label_of
from diffumask_datasets.dataset.storage import Location, join, list_files, name_of, read_file
from diffumask_datasets.dataset.views import CONFIG_FOLDERS, card_configs, check_shown, view_features, view_row
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.file import RECIPE_FILE, recipe_text
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.yaml_reader import parse_yaml
from diffumask_datasets.sample import id2label

__all__ = [
    "OPINIONS_FILE",
    "PREVIEW",
    "REJECTIONS_FILE",
    "FileContent",
    "check_target",
    "write_files",
    "write_folder",
    "write_rows",
]

ROWS_PER_FILE = 1000
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 64 * 2**20
"""The Hub's viewer refuses row groups over 286 MiB and is quick below 100."""

REJECTIONS_FILE = "rejections.jsonl"
"""Which samples ``diffumask curate`` left out, and why."""

OPINIONS_FILE = "opinions.jsonl"
"""The scores that models gave to samples when they were curated."""

FileContent = str | Callable[[], bytes]
"""The text of a file, or what gives its bytes."""

PREVIEW = "preview.png"
"""The contact sheet of the first samples."""

NAMES = frozenset(
    {
        *CONFIG_FOLDERS.values(),
        "README.md",
        "id2label.json",
        DECISIONS_FILE,
        REJECTIONS_FILE,
        OPINIONS_FILE,
        "shard.json",
        PREVIEW,
    }
)
"""What an upload that was cut short leaves behind, the recipe being uploaded last."""


def check_target(output: Location) -> None:
    """Raises ExportError unless ``output`` is new, empty, or a dataset that this package wrote."""
    names = {name_of(found) for found in list_files(output)}
    is_folder = not isinstance(output, Path) or output.is_dir() or not output.exists()
    if is_folder and (not names or _is_ours(output, names)):
        return
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
    """Writes new samples; an earlier dataset at ``output`` is replaced once the new one is whole.

    Args:
        output: A folder or a URL.
        rows: The rows of each split.
        recipe: What made them.
        sizes: The number of samples of each split that the recipe asks for.
        keep_heat_maps: Whether to write the column ``heat_maps``.
        keep_threshold_curve: Whether to write the column ``threshold_curve``.
        skip: Indices that the recipe leaves out.
        extra_fields: Further fields of ``recipe.yaml``.
        extra_files: Further files: name → text, or what gives its bytes once the rows are written.
        counts: The number of rows of each split, where that is not ``sizes``.
        view: What ``load_dataset(output)`` gives; see :func:`write_rows`.

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
    """Writes the rows of each split and the files beside them.

    Another ``view`` than ``default`` is written too, and a card by which ``load_dataset(folder)`` gives that one;
    ``load_dataset(folder, "semantic")`` then gives the columns of ``default``.

    Args:
        output: A folder or a URL.
        rows: The rows of each split; further columns are left out.
        features: Their features.
        counts: The number of rows of each split.
        files: Further files, ``recipe.yaml`` among them: name → text, or what gives its bytes once the rows are written.
        view: What ``load_dataset(output)`` gives.

    Raises:
        ExportError: ``output`` holds something that is not ours, or cannot be written, or an unknown view.
    """
    check_shown(view)
    check_target(output)
    with atomic_folder(output, last=RECIPE_FILE) as draft:
        views = ("default",) if view == "default" else ("default", view)
        write_files(draft, rows, features=features, counts=counts, files=files, views=views)
        if view != "default":
            splits = [split for split, count in counts.items() if count]
            card = {"configs": card_configs((view, "default"), shown=view, splits=splits)}
            (draft / "README.md").write_text(f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n", encoding="utf-8")


def write_files(
    folder: Path,
    rows: Mapping[str, Iterable[Row]],
    *,
    features: datasets.Features,
    counts: Mapping[str, int],
    files: Mapping[str, FileContent],
    views: Iterable[str],
    label_of: Callable[[Row], Pixels] = label_of,
    **parquet: Any,
) -> None:
    """Writes rows in several views, and files, into an empty folder.

    Args:
        folder: The folder.
        rows: The rows of each split; further columns are left out.
        features: Their features.
        counts: The number of rows of each split.
        files: Name → text, or what gives the bytes of the file once the rows are written.
        views: The views that are written.
        label_of: Gives the mask of a row, where another view needs it; called once a row, in their order.
        **parquet: Options of ``ParquetWriter``.
    """
    classes = class_names(features)
    schemas = {view: view_features(view, classes=classes).arrow_schema for view in views}
    schemas["default"] = features.arrow_schema
    for view in schemas:
        (folder / CONFIG_FOLDERS[view]).mkdir(parents=True, exist_ok=True)
    for split, split_rows in rows.items():
        remaining, count = iter(split_rows), -(-counts[split] // ROWS_PER_FILE)
        for number in range(count):
            name = f"{split}-{number:05d}-of-{count:05d}.parquet"
            _write_part(folder, name, islice(remaining, ROWS_PER_FILE), schemas, classes, label_of, parquet)
    labels = json.dumps(id2label(classes), indent=2, ensure_ascii=False)
    for name, content in {"id2label.json": labels + "\n", **files}.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content())


def _write_part(
    folder: Path,
    name: str,
    rows: Iterator[Row],
    schemas: Mapping[str, pa.Schema],
    classes: Sequence[str],
    label_of: Callable[[Row], Pixels],
    options: Mapping[str, Any],
) -> None:
    with ExitStack() as stack:
        writers = {
            view: stack.enter_context(pq.ParquetWriter(folder / CONFIG_FOLDERS[view] / name, schema, **options))
            for view, schema in schemas.items()
        }
        for group in _groups(rows, schemas["default"].names):
            labels = [label_of(row) for row in group] if len(writers) > 1 else []
            for view, writer in writers.items():
                cells = group
                if view != "default":
                    pairs = zip(group, labels, strict=True)
                    cells = [view_row(row, view, classes=classes, label=label) for row, label in pairs]
                writer.write_table(pa.Table.from_pylist(cells, schema=schemas[view]))


def _groups(rows: Iterator[Row], columns: Sequence[str]) -> Iterator[list[Row]]:
    group: list[Row] = []
    held = 0
    for row in rows:
        size = _bytes_of(row, columns)
        if group and (len(group) == ROWS_PER_GROUP or held + size > BYTES_PER_GROUP):
            yield group
            group, held = [], 0
        group.append(row)
        held += size
    if group:
        yield group


def _bytes_of(row: Row, columns: Sequence[str]) -> int:
    heat = row.get(HEAT_MAPS) if HEAT_MAPS in columns else None
    return sum(len(cell["bytes"]) for cell in [row["image"], row["label"], *(heat["map"] if heat else ())])


def _is_ours(output: Location, names: set[str]) -> bool:
    if RECIPE_FILE not in names:
        return isinstance(output, str) and "data" in names and names <= NAMES  # an upload that was cut short
    data = read_file(join(output, RECIPE_FILE), what="the recipe", error=RecipeError) or b""
    fields = parse_yaml(data.decode("utf-8-sig", "replace"), where=f"the recipe of {output}", error=RecipeError)
    return "data" in names and isinstance(fields, dict) and "classes" in fields
