"""``diffumask curate``: the samples of a dataset folder whose masks are believed, and beside them the others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from diffumask_datasets.curation.agreement import SampleAgreement
from diffumask_datasets.curation.doubt import check_drop_share, doubts
from diffumask_datasets.curation.noise import EPOCHS, cross_validated_agreements, noise_training
from diffumask_datasets.curation.rejection import Rejection, reject_by_itself
from diffumask_datasets.dataset.atomic import only_one
from diffumask_datasets.dataset.names import ordered_splits
from diffumask_datasets.dataset.parquet import split_files
from diffumask_datasets.dataset.reader import DatasetSource, open_source
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.shared import StoredRecipe, stored_recipe

__all__ = ["REJECTIONS_FILE", "curate", "rejected_folder"]

REJECTIONS_FILE = "rejections.jsonl"


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
    """Writes the believed samples of ``dataset`` to ``output``, the others to :func:`rejected_folder` of it.

    A sample is rejected where no object has a mask, a mask floods the image, its quality is under ``min_quality``, or a
    segmenter trained on the other ``folds`` does not confirm the mask (``folds`` 0 leaves that out). It sees every sample
    ``epochs`` times; ``training`` are fields of :class:`diffumask_datasets.segmentation.settings.TrainingSettings` on top of
    those of :data:`diffumask_datasets.curation.noise.NOISE_TRAINING`. Interrupted and called again, finished folds are not
    trained again. Both folders hold ``rejections.jsonl``: sample id, filter, reason and score of every rejected sample. How
    many each filter rejected is returned.

    Raises:
        ExportError: ``dataset`` is no dataset folder, or nothing would be left, or ``output`` cannot be written.
        RecipeError: options that are out of range, or too few samples for the folds.
        ModelError, TrainingError: the segmenter cannot be loaded, or its training cannot go on.
    """
    dataset, output = Path(dataset), Path(output)
    stored = stored_recipe(dataset)
    rejected_output = rejected_folder(output)
    if dataset.resolve() in (output.resolve(), rejected_output.resolve()):
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that nothing is lost")
    check_target(output)
    check_target(rejected_output)
    if not 0 <= min_quality <= 1:
        raise RecipeError(f"min_quality lies in [0, 1], got {min_quality}")
    if drop_share is not None:
        check_drop_share(drop_share)
    work = output.with_name(f".{output.name}.folds")
    with only_one(work, output):
        source = open_source(dataset)
        rejections, rest = _by_themselves(source, min_quality)
        if folds and rest:
            settings = noise_training(len(rest), folds=folds, epochs=epochs, changes=training)
            agreements = _agreements(dataset, list(rest), work, folds, settings)
            found = doubts(agreements, stored.recipe.classes, drop_share=drop_share)
            named = zip(rest.values(), found, strict=True)
            rejections += [Rejection(sample_id, "noise", *doubt) for sample_id, doubt in named if doubt]
        gone = {rejection.sample_id for rejection in rejections}
        if len(gone) == sum(source.sizes.values()):
            raise ExportError(f"all {len(gone)} samples of {dataset} would be rejected: {rejections[0].reason}, …")
        _write(source, output, stored, rejections, lambda sample_id: sample_id not in gone)
        if gone:
            _write(source, rejected_output, stored, rejections, lambda sample_id: sample_id in gone)
        shutil.rmtree(work, ignore_errors=True)
    return Counter(rejection.filter for rejection in rejections)


def rejected_folder(output: Path) -> Path:
    """Where the rejected samples of ``output`` go: beside it, so that reading ``output`` does not find them."""
    return output.with_name(f"{output.name}-rejected")


def _by_themselves(source: DatasetSource, min_quality: float) -> tuple[list[Rejection], dict[int, str]]:
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
    dataset: Path, rest: Sequence[int], work: Path, folds: int, settings: Mapping[str, Any]
) -> list[SampleAgreement]:
    """Of the samples at these positions; what is trained lies in ``work``, which outlives an interruption."""
    columns = ["sample_id", "image", "label", "classes"]
    files = split_files(dataset)
    paths = [str(path) for split in ordered_splits(files) for path in files[split]]
    rows = datasets.Dataset.from_parquet(paths, columns=columns, cache_dir=str(work / "rows"))
    content = json.dumps([rows._fingerprint, rest, folds, settings], default=str)
    folder = work / hashlib.sha256(content.encode()).hexdigest()[:12]
    with tqdm(total=folds, unit="fold", disable=None) as progress:

        def heard(fold: int) -> None:
            progress.update()

        return cross_validated_agreements(rows.select(rest), folds=folds, folder=folder, progress=heard, **settings)


def _write(
    source: DatasetSource,
    output: Path,
    stored: StoredRecipe,
    rejections: Sequence[Rejection],
    keep: Callable[[str], bool],
) -> None:
    # Splits without any sample are left out.
    sizes = Counter(split for sample_id, split in source.split_of_ids().items() if keep(sample_id))
    rows = {split: (row for row in source.split_rows(split) if keep(row["sample_id"])) for split in sizes}
    lines = [json.dumps(dataclasses.asdict(rejection), ensure_ascii=False) for rejection in rejections]
    write_folder(
        output,
        rows,
        recipe=stored.recipe,
        sizes=sizes,
        **stored.shown,
        extra_fields=stored.history,
        extra_files={REJECTIONS_FILE: "".join(f"{line}\n" for line in lines)},
    )
