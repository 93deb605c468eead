"""``diffumask augment``: a finished dataset folder, augmented into another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.augmentation.pipeline import augmented, block_of, cached_scenes, drawn_others, row_from
from diffumask_datasets.dataset.density import Density, image_density
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import rewrite
from diffumask_datasets.dataset.schema import AMODAL, Row
from diffumask_datasets.dataset.storage import parse_location, same_location
from diffumask_datasets.dataset.writer import check_target
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.augment_settings import (
    AugmentSettings,
    fewest_objects,
    knows_hidden_parts,
    needs_others,
    parse_augment,
    with_known,
)
from diffumask_datasets.recipes.file import AUGMENTED
from diffumask_datasets.recipes.splits import SPLIT_STARTS

__all__ = ["augment_folder"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done: steps, their seed, augmented samples per source sample, whether the source's own are kept, and optional
    columns that are added."""

    steps: tuple[AugmentSettings, ...]
    seed: int
    copies: int
    originals: bool
    adds: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(f"copies: expected a number from 1 up, got {self.copies}")
        if AMODAL in self.adds and not knows_hidden_parts(self.steps):
            raise RecipeError(
                "keep_amodal: what objects hide of each other is known of compositions alone: make compose the last step; "
                "blur may follow"
            )

    @property
    def unknown(self) -> Row:
        """Cells for the columns that are added, before anything is known."""
        return dict.fromkeys(self.adds)

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
    source: str | Path,
    output: str | Path,
    *,
    augment: Any,
    seed: int = 0,
    copies: int = 1,
    originals: bool = False,
    keep_amodal: bool = False,
) -> Density:
    """Writes augmented samples of a dataset as a new dataset. Sample ids are new; the same call gives the same bytes.

    Args:
        source: A folder, a URL or a Hub dataset ``owner/name``.
        output: A folder or a URL.
        augment: The augmentations, as in a recipe. Pixels of other samples come from the same split, from the 16 or 64 rows
            around.
        seed: Another seed gives other augmentations.
        copies: Augmented samples per sample.
        originals: Keep the samples of ``source``, in front.
        keep_amodal: Add the column ``amodal``: the whole masks of composed objects, with what others hide of them.

    Returns:
        How dense the new scenes are, originals included.

    Raises:
        RecipeError: An unknown augmentation, a grid larger than an image, a split of one sample where others are needed.
        ExportError: ``source`` is not a dataset, or ``output`` holds something that is not ours.
    """
    target, parsed = parse_location(output), parse_augment(augment)
    opened = open_dataset(source)
    recipe, history = opened.recipe, opened.history
    steps = with_known(parsed, co_occurrence=recipe.co_occurrence, stuff=recipe.stuff)
    plan = _Plan(pin_backgrounds(steps, recipe.words), seed, copies, originals, (AMODAL,) if keep_amodal else ())
    check_target(target)
    if same_location(opened.location, target):
        raise ExportError(f"{output} is the source itself: choose another --output")
    counts = _counts(opened)
    _check_counts(counts, plan)
    digest = plan.digest(_sample_ids(opened, counts))
    sizes = {split: plan.size(count) for split, count in counts.items()}
    density = Density(fewest=0 if originals else fewest_objects(plan.steps))
    with tqdm(total=sum(sizes.values()), unit="image", disable=None) as progress:
        rewrite(
            opened,
            target,
            {split: _measured(_rows(opened, split, plan, digest, progress), density, opened.stuff) for split in counts},
            adds=plan.adds,
            counts=sizes,
            skip=(),
            history={**history, AUGMENTED: plan.described(digest, history.get(AUGMENTED))},
            keeps_ids=False,
        )
    return density


def _counts(source: OpenDataset) -> dict[str, int]:
    ours = {split: source.counts[split] for split in SPLIT_STARTS if split in source.counts}
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


def _measured(rows: Iterable[Row], density: Density, stuff: Collection[int]) -> Iterator[Row]:
    for row in rows:
        density.add(image_density(row, stuff))
        yield row


def _rows(source: OpenDataset, split: str, plan: _Plan, digest: str, progress: tqdm[Any]) -> Iterator[Row]:
    number = SPLIT_STARTS[split]
    if plan.originals:
        for row in source.split_rows(split):
            yield {**plan.unknown, **row, "sample_id": f"{digest}-{number:08d}"}
            number += 1
            progress.update()
    for copy in range(plan.copies):
        for made in _augmented(source, split, plan, copy):
            yield {**made, "sample_id": f"{digest}-{number:08d}"}
            number += 1
            progress.update()


def _augmented(source: OpenDataset, split: str, plan: _Plan, copy: int) -> Iterator[Row]:
    """Each row once through the steps; the rows of its block are read ahead, and dropped behind."""
    stored, count = enumerate(source.split_rows(split)), source.counts[split]
    window: dict[int, Row] = {}
    scenes = cached_scenes(window.__getitem__)
    for position in range(count):
        block = block_of(position, plan.steps, total=count)
        while block.stop - 1 not in window:
            place, row = next(stored)
            window[place] = {**plan.unknown, **row}
        for old in [old for old in window if old < block.start - len(block)]:
            del window[old]
        row = window[position]
        others = drawn_others(scenes, position, block)
        key = f"{row['sample_id']}/{copy}"
        classes = source.classes
        scene = augmented(scenes(position), plan.steps, seed=plan.seed, key=key, others=others, classes=classes)
        yield row_from(scene, row, row["sample_id"])


def _sample_ids(source: OpenDataset, splits: Iterable[str]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {split: [] for split in splits}
    for sample_id, split in source.split_of_ids().items():
        if split in ids:
            ids[split].append(sample_id)
    return ids
