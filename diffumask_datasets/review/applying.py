"""From verdicts to a dataset: the accepted subset, or the rejected indices filled with fresh samples.

The result's ``recipe.yaml`` names the indices that are left out, so that it too can be made again from the recipe alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.decisions import (
    ACCEPTED,
    DECISIONS_FILE,
    REJECTED,
    SHOWN,
    Decision,
    decisions_text,
    read_decisions,
)
from diffumask_datasets.dataset.reader import DatasetSource, open_source
from diffumask_datasets.dataset.schema import Row, without_heat_maps
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.sample_generator import Runtime, SampleGenerator
from diffumask_datasets.recipes.file import origin
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import SPLIT_STARTS, SplitPlan
from diffumask_datasets.recipes.trust import check_trust

__all__ = ["Applied", "apply_decisions"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written: samples accepted, rejected, not decided (left out unless refilled) and freshly generated."""

    accepted: int
    rejected: int
    undecided: int
    fresh: int


def apply_decisions(
    source: str | Path,
    decisions: Mapping[str, Decision],
    output: str | Path,
    *,
    refill: bool = False,
    trust_recipe: bool = False,
    runtime: Runtime | None = None,
) -> Applied:
    """Writes the accepted samples of the folder ``source``, and all decisions so far, into the folder ``output``.

    With ``refill`` the undecided samples stay too, and every rejected one is replaced by a fresh sample of the next index,
    until the result is as large as ``source`` was; review it again until nothing is undecided.
    ImageWithAttention follows the recipe of ``source``: local models and files that it names only with ``trust_recipe``.

    Raises:
        RecipeError: the recipe of ``source`` is not legal, or names what only the user may ask for.
        ReviewError: decisions for samples of another dataset, or nothing accepted.
        ExportError: no dataset folder, or ``output`` holds something that is not ours.
    """
    opened = open_source(source)
    if opened.recipe_fields is None:
        raise ReviewError(f"{source} has no recipe.yaml: decisions apply to folders that generate wrote")
    output = Path(output)
    check_target(output)
    recipe = Recipe.within(opened.recipe_fields)
    every = {**_earlier(Path(source)), **decisions}
    present = opened.split_of_ids()
    foreign = origin(opened.recipe_fields)
    if foreign and refill:
        raise ReviewError(
            f"{source} is {' and '.join(foreign)}, not generated: it cannot be refilled; leave --refill out"
        )
    if refill and not trust_recipe:
        check_trust(f"the recipe of {str(source)!r}", opened.recipe_fields)
    _check_known(every, present, foreign[max(foreign)]["digest"] if foreign else recipe.digest)
    verdicts = {sample_id: every[sample_id].verdict for sample_id in present if sample_id in every}
    rejected = {sample_id for sample_id, decision in every.items() if decision.verdict == REJECTED}
    skip = set(opened.recipe_fields.get("skip") or ()) | {_index(sample_id) for sample_id in rejected}
    if refill:
        sizes = dict(opened.sizes)
        rows = _refilled(opened, present, recipe, sizes, skip, runtime or Runtime())
    else:
        kept = {sample_id for sample_id, verdict in verdicts.items() if verdict == ACCEPTED}
        if not kept:
            raise ReviewError(f"nothing is accepted yet ({len(verdicts)} decisions for {len(present)} samples)")
        sizes = _sizes(opened, present, kept)
        rows = {split: _kept(opened, split, kept) for split in sizes}
        skip |= _left_out(present, kept)
    write_folder(
        output,
        rows,
        recipe=recipe,
        sizes=sizes,
        keep_heat_maps=opened.heat_maps,
        skip=skip,
        extra_fields=foreign,
        extra_files={DECISIONS_FILE: decisions_text(every.values())},
    )
    accepted = sum(verdict == ACCEPTED for verdict in verdicts.values())
    gone = len(verdicts) - accepted
    return Applied(accepted, gone, len(present) - len(verdicts), fresh=gone if refill else 0)


def _earlier(source: Path) -> dict[str, Decision]:
    path = source / DECISIONS_FILE
    return read_decisions(path) if path.is_file() else {}


def _check_known(decisions: Mapping[str, Decision], present: Mapping[str, Any], digest: str) -> None:
    # Samples of this recipe that are gone were rejected before, or come back with the next regeneration.
    foreign = [name for name in decisions if name not in present and not name.startswith(f"{digest}-")]
    if foreign:
        raise ReviewError(
            f"{len(foreign)} decisions are for samples of another dataset ({', '.join(foreign[:SHOWN])}…); "
            f"samples here begin with {digest}-"
        )


def _index(sample_id: str) -> int:
    number = sample_id.rpartition("-")[2]
    if not number.isdecimal():
        raise ReviewError(f"{sample_id!r} is no sample id: expected <12 hex digits>-<8 digits>")
    return int(number)


def _sizes(opened: DatasetSource, present: Mapping[str, str], kept: Iterable[str]) -> dict[str, int]:
    counts = dict.fromkeys(opened.sizes, 0)
    for sample_id in kept:
        counts[present[sample_id]] += 1
    return {split: count for split, count in counts.items() if count}


def _kept(opened: DatasetSource, split: str, kept: set[str]) -> Iterator[Row]:
    return (row for row in opened.split_rows(split) if row["sample_id"] in kept)


def _left_out(present: Mapping[str, str], kept: set[str]) -> set[int]:
    """Indices of samples not kept that lie before a kept one of their split: what a regeneration must leave out."""
    last = {present[sample_id]: -1 for sample_id in kept}
    for sample_id in kept:
        split = present[sample_id]
        last[split] = max(last[split], _index(sample_id))
    return {
        _index(sample_id)
        for sample_id, split in present.items()
        if sample_id not in kept and _index(sample_id) < last.get(split, -1)
    }


def _refilled(
    opened: DatasetSource,
    present: Mapping[str, str],
    recipe: Recipe,
    sizes: Mapping[str, int],
    skip: set[int],
    runtime: Runtime,
) -> dict[str, Iterator[Row]]:
    unknown = [split for split in sizes if split not in SPLIT_STARTS]
    if unknown:
        raise ReviewError(f"split {unknown[0]!r} cannot be refilled: it was not generated")
    plan = SplitPlan.of(splits=sizes, skip=sorted(skip))
    generator = SampleGenerator(prepare(recipe), runtime)
    there = {_index(sample_id) for sample_id in present}

    def rows(split: str, indices: Iterable[int]) -> Iterator[Row]:
        kept = opened.split_rows(split)
        for known, group in itertools.groupby(indices, key=there.__contains__):
            wanted = set(group)
            if known:
                last = max(wanted)
                for row in kept:
                    index = _index(row["sample_id"])
                    if index in wanted:
                        yield row
                    if index == last:
                        break
            else:
                for index, row in generator.rows(min(wanted), max(wanted) + 1):
                    if index in wanted:
                        yield row if opened.heat_maps else without_heat_maps(row)

    planned = {
        split: [index for start, stop in shards for index in range(start, stop)] for split, shards in plan.shards()
    }
    return {split: rows(split, indices) for split, indices in planned.items()}
