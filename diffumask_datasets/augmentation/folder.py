"""``diffumask augment``: a finished dataset folder, augmented into another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.augmentation.pipeline import augmented, block_of, cached_scenes, drawn_others, row_from
from diffumask_datasets.dataset.reader import DatasetSource, open_source
from diffumask_datasets.dataset.schema import HEAT_MAPS, THRESHOLD_CURVE, Row
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.augment_settings import AugmentSettings, needs_others, parse_augment, with_co_occurrence
from diffumask_datasets.recipes.file import AUGMENTED
from diffumask_datasets.recipes.shared import stored_recipe
from diffumask_datasets.recipes.splits import SPLIT_STARTS

__all__ = ["augment_folder"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done: steps, their seed, augmented samples per source sample, and whether the source's own are kept."""

    steps: tuple[AugmentSettings, ...]
    seed: int
    copies: int
    originals: bool

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(f"copies: expected a number from 1 up, got {self.copies}")

    def digest(self, sample_ids: Mapping[str, Sequence[str]]) -> str:
        """Twelve hex digits of what the samples are made of: a part of a dataset gives others than the whole."""
        steps = [step.identity() for step in self.steps]
        text = json.dumps([sample_ids, steps, self.seed, self.copies, self.originals], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def described(self, digest: str, before: Any) -> dict[str, Any]:
        """What the recipe file says of it; ``before`` is what it says of an augmentation of the source."""
        steps = [step.model_dump(mode="json") for step in self.steps]
        how = {"digest": digest, "seed": self.seed, "copies": self.copies, "originals": self.originals}
        return {**how, "of": before, "augment": steps}

    def size(self, rows: int) -> int:
        return rows * (self.copies + self.originals)


def augment_folder(
    source: str | Path, output: str | Path, *, augment: Any, seed: int = 0, copies: int = 1, originals: bool = False
) -> None:
    """Writes ``copies`` augmented samples of each sample of the dataset folder ``source`` into the folder ``output``.

    ``augment`` is as in a recipe. Pixels of other samples come from the same split, from the 16 or 64 rows around.
    ``originals`` keeps the samples of the source in front. Sample ids are new; the same call gives the same bytes.

    Raises:
        RecipeError: an unknown augmentation, a grid larger than an image, a split of one sample where others are needed.
        ExportError: ``source`` is no dataset folder, or ``output`` holds something that is not ours.
    """
    source, output = Path(source), Path(output)
    stored = stored_recipe(source)
    steps = with_co_occurrence(parse_augment(augment), stored.recipe.co_occurrence)
    plan = _Plan(pin_backgrounds(steps, stored.recipe.words), seed, copies, originals)
    check_target(output)
    if source.resolve() == output.resolve():
        raise ExportError(f"{output} is the source itself: choose another --output")
    opened = open_source(source)
    counts = _counts(opened)
    _check_counts(counts, plan)
    digest = plan.digest(_sample_ids(opened, counts))
    sizes = {split: plan.size(count) for split, count in counts.items()}
    with tqdm(total=sum(sizes.values()), unit="image", disable=None) as progress:
        write_folder(
            output,
            {split: _rows(opened, split, plan, digest, progress) for split in counts},
            recipe=stored.recipe,
            sizes=sizes,
            keep_heat_maps=HEAT_MAPS in opened.optional,
            keep_threshold_curve=THRESHOLD_CURVE in opened.optional,
            extra_fields={**stored.history, AUGMENTED: plan.described(digest, stored.history.get(AUGMENTED))},
        )


def _counts(source: DatasetSource) -> dict[str, int]:
    ours = {split: source.sizes[split] for split in SPLIT_STARTS if split in source.sizes}
    if not ours:
        raise ExportError(f"the dataset has none of the splits {', '.join(SPLIT_STARTS)}")
    return ours


def _check_counts(counts: Mapping[str, int], plan: _Plan) -> None:
    for split, count in counts.items():
        if count < 2 and needs_others(plan.steps):
            raise RecipeError(
                f"split {split!r} holds {count} sample: splicing, occlusion and composition need at least two; "
                "generate more, or take blur or perspective"
            )


def _rows(source: DatasetSource, split: str, plan: _Plan, digest: str, progress: tqdm[Any]) -> Iterator[Row]:
    number = SPLIT_STARTS[split]
    if plan.originals:
        for row in source.split_rows(split):
            yield {**row, "sample_id": f"{digest}-{number:08d}"}
            number += 1
            progress.update()
    for copy in range(plan.copies):
        for made in _augmented(source, split, plan, copy):
            yield {**made, "sample_id": f"{digest}-{number:08d}"}
            number += 1
            progress.update()


def _augmented(source: DatasetSource, split: str, plan: _Plan, copy: int) -> Iterator[Row]:
    """Each row once through the steps; the rows of its block are read ahead, and dropped behind."""
    stored, count = enumerate(source.split_rows(split)), source.sizes[split]
    window: dict[int, Row] = {}
    scenes = cached_scenes(window.__getitem__)
    for position in range(count):
        block = block_of(position, plan.steps, total=count)
        while block.stop - 1 not in window:
            place, row = next(stored)
            window[place] = row
        for old in [old for old in window if old < block.start - len(block)]:
            del window[old]
        row = window[position]
        others = drawn_others(scenes, position, block)
        key = f"{row['sample_id']}/{copy}"
        classes = source.classes
        scene = augmented(scenes(position), plan.steps, seed=plan.seed, key=key, others=others, classes=classes)
        yield row_from(scene, row, row["sample_id"])


def _sample_ids(source: DatasetSource, splits: Iterable[str]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {split: [] for split in splits}
    for sample_id, split in source.split_of_ids().items():
        if split in ids:
            ids[split].append(sample_id)
    return ids
