"""The folder of one shard: what it holds of the whole, and how the folders of all shards become the dataset.

A shard's folder is a dataset folder whose ``recipe.yaml`` is that of the whole, and ``shard.json`` beside it:

    {"shard": "2/8", "ranges": {"train": [16, 24]}}
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import datasets

from diffumask_datasets.dataset.names import read_class_names
from diffumask_datasets.dataset.parquet import read_footers, read_rows, split_files
from diffumask_datasets.dataset.schema import HEAT_MAPS, THRESHOLD_CURVE, Row, features_of
from diffumask_datasets.dataset.shared_recipe import parse_shared_recipe
from diffumask_datasets.dataset.storage import Location, dataset_location, fetched, parse_location
from diffumask_datasets.dataset.writer import write_rows
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.bounded_text import read_bounded
from diffumask_datasets.recipes.file import BATCH_SIZE, RECIPE_FILE
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.splits import Shard, ShardNumber

__all__ = ["SHARD_FILE", "merge", "shard_text"]

SHARD_FILE = "shard.json"


@dataclass(frozen=True, slots=True)
class _Part:
    folder: Path
    number: ShardNumber
    ranges: Mapping[str, Shard]
    files: Mapping[str, list[Location]]
    recipe: str


def shard_text(number: ShardNumber, ranges: Mapping[str, Shard]) -> str:
    """The text of ``shard.json``."""
    return json.dumps({"shard": str(number), "ranges": ranges}) + "\n"


def merge(parts: Iterable[str | Path], output: str | Path, *, view: str = "default") -> None:
    """Joins the folders of all shards to the dataset that a run without shards writes, byte for byte.

    Args:
        parts: The folders or URLs of the shards, in any order.
        output: A folder or a URL.
        view: What ``load_dataset(output)`` gives, as for :func:`diffumask_datasets.generate`.

    Raises:
        ExportError: ``output`` holds something that is not ours, or cannot be written, or an unknown view.
        DataError: A folder that is no shard, shards of different recipes or numbers, one that is missing or comes twice.
    """
    with ExitStack() as copies:
        folders = [copies.enter_context(fetched(dataset_location(part))) for part in parts]
        found = sorted(map(_read, folders), key=lambda part: part.number.index)
        _check(found)
        _join(found, parse_location(output), view)


def _join(found: Sequence[_Part], output: Location, view: str) -> None:
    features, rows = _footers([path for part in found for paths in part.files.values() for path in paths])
    splits = list(found[0].ranges)
    write_rows(
        output,
        {split: _rows(found, split) for split in splits},
        features=features,
        counts={split: sum(rows[path] for part in found for path in part.files.get(split, ())) for split in splits},
        files={RECIPE_FILE: found[0].recipe},
        view=view,
    )


def _footers(files: Sequence[Location]) -> tuple[datasets.Features, dict[Location, int]]:
    if not files:
        raise DataError("the shards hold no samples")
    there, rows = read_footers(files)
    classes = read_class_names(there)
    features = features_of(classes, heat_maps=HEAT_MAPS in there, threshold_curve=THRESHOLD_CURVE in there)
    if there.arrow_schema != features.arrow_schema:
        raise DataError(f"{_folder_of(files[0])} has other columns than diffumask generate writes: generate it again")
    return features, rows


def _folder_of(file: Location) -> str:
    return str(file).rsplit("/", 2)[0]


def _rows(parts: Sequence[_Part], split: str) -> Iterator[Row]:
    return itertools.chain.from_iterable(read_rows(part.files.get(split, ())) for part in parts)


def _read(folder: Path) -> _Part:
    try:
        fields = read_json(folder / SHARD_FILE, what="the shard's", error=DataError)
        number = ShardNumber.parse(fields["shard"])
        ranges = {split: (int(start), int(stop)) for split, (start, stop) in fields["ranges"].items()}
        recipe = read_bounded(folder / RECIPE_FILE, what="the recipe", error=DataError)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{folder} is not the folder of a shard ({error}); make one with diffumask generate --shard i/n"
        ) from error
    return _Part(folder, number, ranges, split_files(folder), recipe)  # more shards than samples: some hold none


def _check(parts: Sequence[_Part]) -> None:
    if not parts:
        raise DataError("no shards given: name the folder of each, e.g. out/shard-*")
    first = parts[0]
    for part in parts[1:]:
        if part.recipe != first.recipe:
            _check_batches(first, part)
        if part.number.count != first.number.count or part.recipe != first.recipe:
            raise DataError(
                f"{part.folder} (shard {part.number}) and {first.folder} (shard {first.number}) are of different runs; "
                "generate them with the same recipe, size and number of shards"
            )
    there = [part.number.index for part in parts]
    missing = [str(number) for number in range(first.number.count) if number not in there]
    if missing:
        raise DataError(f"shards {', '.join(missing)} of {first.number.count} are missing: generate them, then merge")
    for before, after in itertools.pairwise(parts):
        if before.number == after.number:
            raise DataError(f"{before.folder} and {after.folder} are both shard {after.number}: leave one out")
        if any(before.ranges[split][1] != after.ranges[split][0] for split in first.ranges):
            raise DataError(f"shards {before.number} and {after.number} do not meet: generate them again")


def _check_batches(first: _Part, part: _Part) -> None:
    """Samples made in batches of another size have other last bits, and lie in other shards."""
    sizes = [_batch_size(one) for one in (first, part)]
    if part.number.count == first.number.count and sizes[0] != sizes[1]:
        raise DataError(
            f"shard {first.number} was made in batches of {sizes[0]}, shard {part.number} in batches of {sizes[1]}: run "
            f"generate --shard {part.number} --batch-size {sizes[0]} again (finished samples are kept)"
        )


def _batch_size(part: _Part) -> int:
    return int(parse_shared_recipe(part.recipe.encode(), where=f"the recipe of {part.folder}").get(BATCH_SIZE) or 1)
