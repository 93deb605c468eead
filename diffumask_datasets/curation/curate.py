"""``diffumask curate``: the samples of a dataset folder whose masks are confirmed, and beside them the others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from diffumask_datasets.curation.agreement import SampleAgreement
from diffumask_datasets.curation.noise import EPOCHS, cross_validated_agreements, noise_training
from diffumask_datasets.curation.noise_flags import check_drop_share, flag_noisy
from diffumask_datasets.curation.rejection import Rejection, reject_by_itself
from diffumask_datasets.dataset.atomic import exclusive
from diffumask_datasets.dataset.parquet import split_files
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import rewrite_subset
from diffumask_datasets.dataset.storage import Location, access, name_of, parse_location, same_location, work_folder
from diffumask_datasets.dataset.writer import REJECTIONS_FILE, check_target
from diffumask_datasets.errors import ExportError, RecipeError

__all__ = ["REJECTIONS_FILE", "curate", "rejected_folder"]


def curate(
    dataset: str | Path,
    output: str | Path,
    *,
    folds: int = 3,
    drop_share: float | None = None,
    min_quality: float = 0.0,
    epochs: int = EPOCHS,
    training: Mapping[str, Any] | None = None,
) -> Counter[str]:
    """Writes the samples whose masks are confirmed to ``output``, the others to :func:`rejected_folder` of it.

    A sample is rejected where no object has a mask, a mask floods the image, its quality is too low, or a segmenter trained
    on the other samples does not confirm the mask. Both folders hold ``rejections.jsonl``: sample id, filter, reason and
    score of every rejected sample. Interrupted and called again, finished folds are not trained again.

    Args:
        dataset: A folder, a URL or a Hub dataset ``owner/name``.
        output: A folder or a URL.
        folds: Parts of the dataset, each judged by a segmenter trained on the others; 0 trains none.
        drop_share: Drop this share of each class, the least confirmed, in place of what stands out.
        min_quality: The lowest quality that is kept.
        epochs: How often a segmenter sees every sample.
        training: Fields of :class:`diffumask_datasets.segmentation.settings.TrainingSettings` on top of those of
            :data:`diffumask_datasets.curation.noise.NOISE_TRAINING`.

    Returns:
        How many samples each filter rejected.

    Raises:
        ExportError: ``dataset`` is no dataset, nothing would be left, or ``output`` cannot be written.
        RecipeError: Options that are out of range, or too few samples for the folds.
        ModelError, TrainingError: The segmenter cannot be loaded, or its training cannot go on.
    """
    target = parse_location(output)
    _check_options(min_quality, drop_share)
    source = open_dataset(dataset)
    classes = source.recipe.classes
    rejected_target = rejected_folder(target)
    if any(same_location(source.location, place) for place in (target, rejected_target)):
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that nothing is lost")
    check_target(target)
    check_target(rejected_target)
    work = work_folder(target, "folds")
    with exclusive(work, target):
        rejections, rest = _by_themselves(source, min_quality)
        if folds and rest:
            settings = noise_training(len(rest), folds=folds, epochs=epochs, changes=training)
            agreements = _agreements(source, list(rest), work, folds, settings)
            found = flag_noisy(agreements, classes, drop_share=drop_share)
            named = zip(rest.values(), found, strict=True)
            rejections += [Rejection(sample_id, "noise", *flag) for sample_id, flag in named if flag]
        gone = {rejection.sample_id for rejection in rejections}
        kept = source.split_of_ids().keys() - gone
        if not kept:
            raise ExportError(f"all {len(gone)} samples of {dataset} would be rejected: {rejections[0].reason}, …")
        _write(source, target, rejections, kept)
        if gone:
            _write(source, rejected_target, rejections, gone)
        shutil.rmtree(work, ignore_errors=True)
    return Counter(rejection.filter for rejection in rejections)


def rejected_folder(output: Location) -> Location:
    """Where the rejected samples of ``output`` go: beside it, so that reading ``output`` does not find them."""
    name = f"{name_of(output)}-rejected"
    return output.with_name(name) if isinstance(output, Path) else f"{output.rpartition('/')[0]}/{name}"


def _check_options(min_quality: float, drop_share: float | None) -> None:
    if not 0 <= min_quality <= 1:
        raise RecipeError(f"min_quality lies in [0, 1], got {min_quality}")
    if drop_share is not None:
        check_drop_share(drop_share)


def _by_themselves(source: OpenDataset, min_quality: float) -> tuple[list[Rejection], dict[int, str]]:
    """The samples that speak against themselves; of the others position → sample id."""
    rejections: list[Rejection] = []
    rest: dict[int, str] = {}
    for place, (_, row) in enumerate(source.rows()):
        rejection = reject_by_itself(row, min_quality=min_quality)
        if rejection:
            rejections.append(rejection)
        else:
            rest[place] = row["sample_id"]
    return rejections, rest


def _agreements(
    source: OpenDataset, rest: Sequence[int], work: Path, folds: int, settings: Mapping[str, Any]
) -> list[SampleAgreement]:
    """Of the samples at these positions; what is trained lies in ``work``, which outlives an interruption."""
    rows = _rows_on_disk(source, work / "rows")
    content = json.dumps([rows._fingerprint, rest, folds, settings], default=str)
    folder = work / hashlib.sha256(content.encode()).hexdigest()[:12]
    with tqdm(total=folds, unit="fold", disable=None) as progress:

        def heard(fold: int) -> None:
            progress.update()

        return cross_validated_agreements(rows.select(rest), folds=folds, folder=folder, progress=heard, **settings)


def _rows_on_disk(source: OpenDataset, cache: Path) -> datasets.Dataset:
    """All rows, splits in their order, in the columns that training reads."""
    columns = ["sample_id", "image", "label", "classes"]
    files = split_files(source.location) if source.location else {}
    paths = [str(path) for split in source.sizes for path in files[split]]
    with access(source.location or cache):
        return datasets.Dataset.from_parquet(paths, columns=columns, cache_dir=str(cache))


def _write(source: OpenDataset, output: Location, rejections: Sequence[Rejection], kept: set[str]) -> None:
    lines = [json.dumps(dataclasses.asdict(rejection), ensure_ascii=False) for rejection in rejections]
    earlier = source.text_of(REJECTIONS_FILE) or ""
    rewrite_subset(source, output, kept, files={REJECTIONS_FILE: earlier + "".join(f"{line}\n" for line in lines)})
