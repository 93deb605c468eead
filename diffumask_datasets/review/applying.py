"""From verdicts to a dataset: the accepted subset, or the rejected indices filled with fresh samples.

The result's ``recipe.yaml`` names the indices that are left out, so that it too can be made again from the recipe alone.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.dataset.decisions import (
    ACCEPTED,
    BY_HAND,
    CORRECTED,
    DECISIONS_FILE,
    REJECTED,
    SHOWN,
    Decision,
    decisions_text,
)
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import index_of, rewrite, rewrite_subset
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.storage import parse_location
from diffumask_datasets.dataset.writer import FileContent, check_target
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.recipes.splits import SPLIT_STARTS, SplitPlan
from diffumask_datasets.review.corrections.fiftyone import with_corrections

__all__ = ["Applied", "apply_decisions"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written: samples accepted, rejected, not decided (left out unless refilled) and freshly generated.

    ``corrected`` counts those among the accepted whose masks were corrected.
    """

    accepted: int
    rejected: int
    undecided: int
    fresh: int
    corrected: int = 0


def apply_decisions(
    source: str | Path,
    decisions: Mapping[str, Decision],
    output: str | Path,
    *,
    corrected: Mapping[str, Row] | None = None,
    refill: bool = False,
    trust_recipe: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
) -> Applied:
    """Writes the accepted samples of a dataset, and all decisions so far, as a new dataset.

    Args:
        source: A folder, a URL or a Hub dataset ``owner/name``.
        decisions: Sample id → decision; those that lie in ``source`` are added.
        output: A folder or a URL.
        corrected: Sample id → row with corrected masks, as :func:`diffumask_datasets.review.corrections_of` gives them. Such
            a sample is accepted, with the tag ``corrected``, unless it was rejected.
        refill: Keep undecided samples too, and replace every rejected one by a fresh sample of the next index, so that the
            result is as large as ``source``; review it again until nothing is undecided.
        trust_recipe: Generate with the local models and files that the recipe of ``source`` names.
        batch_size: Fresh samples generated at once; None for the number that the others were made with.
        device: torch's name of the device that generates them, None for the best there is.

    Returns:
        What was written.

    Raises:
        RecipeError: The recipe of ``source`` is not legal, or names what only the user may ask for.
        ReviewError: Decisions for samples of another dataset, or nothing accepted.
        ExportError: Not a dataset, or ``output`` holds something that is not ours.
    """
    opened, target = open_dataset(source), parse_location(output)
    if opened.recipe_fields is None:
        raise ReviewError(f"{source} has no recipe.yaml: decisions apply to datasets that generate wrote")
    check_target(target)
    every = _with_corrected({**(opened.decisions or {}), **decisions}, corrected or {})
    opened = with_corrections(opened, corrected or {})
    if refill and opened.origin:
        raise ReviewError(
            f"{source} is {' and '.join(opened.origin)}, not generated: it cannot be refilled; leave --refill out"
        )
    if refill and not trust_recipe:
        opened.check_trust()
    present = opened.split_of_ids()
    _check_known(every, present)
    verdicts = {sample_id: every[sample_id].verdict for sample_id in present if sample_id in every}
    rejected = {_index(sample_id) for sample_id, decision in every.items() if decision.verdict == REJECTED}
    files: dict[str, FileContent] = {DECISIONS_FILE: decisions_text(every.values())}
    if refill:
        skip = opened.skip | rejected
        rows = _refilled(opened, present, skip, Runtime(batch_size or opened.batch_size, device))
        rewrite(opened, target, rows, skip=skip, files=files)
    else:
        kept = {sample_id for sample_id, verdict in verdicts.items() if verdict == ACCEPTED}
        if not kept:
            raise ReviewError(
                f"nothing is accepted yet ({len(verdicts)} of {len(present)} samples are decided): accept what is to stay"
            )
        rewrite_subset(opened, target, kept, skip=rejected, files=files)
    accepted = sum(verdict == ACCEPTED for verdict in verdicts.values())
    gone = len(verdicts) - accepted
    changed = sum(verdicts.get(sample_id) == ACCEPTED for sample_id in corrected or ())
    return Applied(accepted, gone, len(present) - len(verdicts), fresh=gone if refill else 0, corrected=changed)


def _with_corrected(decisions: Mapping[str, Decision], corrected: Collection[str]) -> dict[str, Decision]:
    every = dict(decisions)
    for sample_id in corrected:
        known = every.get(sample_id, Decision(sample_id, ACCEPTED))
        if known.verdict == ACCEPTED:
            tags = tuple(dict.fromkeys((*known.tags, CORRECTED)))
            every[sample_id] = Decision(sample_id, ACCEPTED, known.reason or BY_HAND, tags)
    return every


def _check_known(decisions: Mapping[str, Decision], present: Iterable[str]) -> None:
    # Samples of this recipe that are gone were rejected before, or come back with the next regeneration.
    digests = {_digest(name) for name in present}
    foreign = [name for name in decisions if _digest(name) not in digests]
    if foreign:
        raise ReviewError(
            f"{len(foreign)} decisions are for samples of another dataset ({', '.join(foreign[:SHOWN])}…); "
            f"samples here begin with {' or '.join(f'{digest}-' for digest in sorted(digests))}"
        )


def _digest(sample_id: str) -> str:
    return sample_id.rpartition("-")[0]


def _index(sample_id: str) -> int:
    index = index_of(sample_id)
    if index is None:
        raise ReviewError(f"invalid sample id {sample_id!r}: expected <12 hex digits>-<8 digits>")
    return index


def _refilled(
    opened: OpenDataset, present: Mapping[str, str], skip: Collection[int], runtime: Runtime
) -> dict[str, Iterator[Row]]:
    unknown = [split for split in opened.sizes if split not in SPLIT_STARTS]
    if unknown:
        raise ReviewError(f"split {unknown[0]!r} cannot be refilled: it was not generated")
    there = {_index(sample_id): split for sample_id, split in present.items()}
    kept = Counter(split for index, split in there.items() if index not in skip)
    missing = {split: count - kept[split] for split, count in opened.counts.items() if count > kept[split]}
    fresh = dict(SplitPlan(missing, num_shards=1, skip=frozenset({*skip, *there})).shards())
    generator = GeneratedSamples(prepare(opened.recipe), runtime)

    def rows(split: str) -> Iterator[Row]:
        old = (row for row in opened.split_rows(split) if _index(row["sample_id"]) not in skip)
        new = (row for start, stop in fresh.get(split, ()) for _, row in generator.rows(start, stop))
        return heapq.merge(old, new, key=lambda row: _index(row["sample_id"]))

    return {split: rows(split) for split in opened.counts}
