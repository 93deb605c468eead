"""Writes a dataset that was made of another one: its recipe, history, optional columns, view and decisions stay with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from diffumask_datasets.dataset.decisions import DECISIONS_FILE, decisions_text
from diffumask_datasets.dataset.opened import OpenDataset
from diffumask_datasets.dataset.schema import Row, features_of
from diffumask_datasets.dataset.storage import Location
from diffumask_datasets.dataset.writer import OPINIONS_FILE, REJECTIONS_FILE, FileContent, write_rows
from diffumask_datasets.recipes.file import BATCH_SIZE, RECIPE_FILE, recipe_text
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import EXTENT

__all__ = ["beside", "index_of", "recipe_text_of", "rewrite", "rewrite_subset"]


def rewrite(
    source: OpenDataset,
    output: Location,
    rows: Mapping[str, Iterable[Row]],
    *,
    counts: Mapping[str, int] | None = None,
    recipe: Recipe | None = None,
    skip: Iterable[int] | None = None,
    history: Mapping[str, Any] | None = None,
    keeps_ids: bool = True,
    files: Mapping[str, FileContent] | None = None,
    adds: Collection[str] = (),
) -> None:
    """Writes a dataset that was made of another one, and keeps everything of that one that is not given anew.

    Args:
        source: The dataset that it was made of: its optional columns, its view, and, by default, all that follows.
        output: Where it goes; a dataset that is there is replaced.
        rows: The rows of each split.
        counts: The number of rows of each split.
        recipe: The recipe of the samples.
        skip: The indices that the recipe leaves out.
        history: What the samples went through, as ``recipe.yaml`` has it.
        keeps_ids: Whether the samples are those of ``source``, so that what was decided about them still holds.
        files: Further files.
        adds: Optional columns that ``source`` may lack.

    Raises:
        ExportError: ``source`` has no ``recipe.yaml``, or ``output`` holds something else or cannot be written.
    """
    counts = source.counts if counts is None else counts
    text = recipe_text_of(source, sizes=counts, recipe=recipe, skip=skip, history=history)
    kept = beside(source) if keeps_ids else {}
    write_rows(
        output,
        rows,
        features=features_of(source.classes, **dict.fromkeys((*source.optional, *adds), True)),
        counts=counts,
        files={**kept, **(files or {}), RECIPE_FILE: text},
        view=source.view,
    )


def beside(source: OpenDataset) -> dict[str, str]:
    """The files beside the data of a dataset that say what was decided about its samples: name → text."""
    decisions, rejections = source.decisions, source.text_of(REJECTIONS_FILE)
    files = {
        DECISIONS_FILE: None if decisions is None else decisions_text(decisions.values()),
        REJECTIONS_FILE: rejections,
        OPINIONS_FILE: source.text_of(OPINIONS_FILE),
    }
    return {name: text for name, text in files.items() if text is not None}


def recipe_text_of(
    source: OpenDataset,
    *,
    sizes: Mapping[str, int],
    recipe: Recipe | None = None,
    skip: Iterable[int] | None = None,
    history: Mapping[str, Any] | None = None,
) -> str:
    """Writes the ``recipe.yaml`` of a dataset that is made of another one.

    Args:
        source: The other one.
        sizes: The number of rows of each split.
        recipe: The recipe of the new samples; default: that of ``source``.
        skip: Indices that the recipe leaves out; default: those of ``source``.
        history: What the samples went through; default: that of ``source``.

    Returns:
        The text.
    """
    shown = {f"keep_{name}": True for name in source.optional if f"keep_{name}" in EXTENT}
    skip = source.skip if skip is None else skip
    history = source.history if history is None else history
    made = {BATCH_SIZE: source.batch_size} if source.batch_size > 1 else {}
    extra = {"keep_heat_maps": False, **shown, **made, **history}
    return recipe_text(recipe or source.recipe, sizes=sizes, skip=skip, **extra)


def rewrite_subset(
    source: OpenDataset,
    output: Location,
    kept: Collection[str],
    *,
    skip: Iterable[int] = (),
    history: Mapping[str, Any] | None = None,
    files: Mapping[str, FileContent] | None = None,
) -> None:
    """Writes some samples of a dataset; splits without any are left out.

    The recipe then skips the indices of all others that lie before one that is kept, so that it still gives these samples.

    Args:
        source: The dataset.
        output: Where the samples go; a dataset that is there is replaced.
        kept: The ids of the samples to keep.
        skip: More indices that the recipe leaves out.
        history: What the samples went through; default: that of ``source``.
        files: Further files.

    Raises:
        ExportError: As :func:`rewrite`, or a sample id that comes twice.
    """
    kept, present = frozenset(kept), source.split_of_ids()
    counts = Counter(split for sample_id, split in present.items() if sample_id in kept)
    rows = {
        split: (row for row in source.split_rows(split) if row["sample_id"] in kept)
        for split in source.sizes
        if counts[split]
    }
    skipped = {*source.skip, *_left_out(present, kept), *skip}
    counted = {split: counts[split] for split in rows}
    rewrite(source, output, rows, counts=counted, skip=skipped, history=history, files=files)


def index_of(sample_id: str) -> int | None:
    """The index at the end of a sample id; None where there is none."""
    number = sample_id.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdecimal() else None


def _left_out(present: Mapping[str, str], kept: Collection[str]) -> set[int]:
    last: dict[str, int] = {}
    for sample_id in kept & present.keys():
        split = present[sample_id]
        last[split] = max(last.get(split, -1), index_of(sample_id) or 0)
    gone = {
        index: present[sample_id] for sample_id in present.keys() - kept if (index := index_of(sample_id)) is not None
    }
    return {index for index, split in gone.items() if index < last.get(split, -1)}
