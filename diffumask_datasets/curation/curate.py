"""``diffumask curate``: the samples of a dataset folder whose masks are confirmed, and beside them the others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from diffumask_datasets.curation.agreement import SampleAgreement
from diffumask_datasets.curation.hearing import Flipped, Hearing, panel_of
from diffumask_datasets.curation.noise import EPOCHS, cross_validated_agreements, noise_training
from diffumask_datasets.curation.noise_flags import check_drop_share, flag_noisy
from diffumask_datasets.curation.opinions import Heard
from diffumask_datasets.curation.rejection import Rejection, reject_by_itself
from diffumask_datasets.dataset.atomic import exclusive
from diffumask_datasets.dataset.opinions import Scores, with_opinions
from diffumask_datasets.dataset.parquet import split_files
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import rewrite_subset
from diffumask_datasets.dataset.storage import Location, access, name_of, parse_location, same_location, work_folder
from diffumask_datasets.dataset.writer import OPINIONS_FILE, REJECTIONS_FILE, check_target
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.file import CURATED

__all__ = ["OPINIONS_FILE", "REJECTIONS_FILE", "curate", "rejected_folder"]


def curate(
    dataset: str | Path,
    output: str | Path,
    *,
    folds: int = 3,
    drop_share: float | None = None,
    min_quality: float = 0.0,
    epochs: int = EPOCHS,
    training: Mapping[str, Any] | None = None,
    presence: str | None = None,
    segmenter: str | None = None,
    concepts: str | None = None,
    min_agreement: float = 0.7,
    ask: str | None = None,
    flipped: Flipped | None = None,
    keep_opinions: bool = False,
) -> Counter[str]:
    """Writes the samples whose masks are confirmed to ``output``, the others to :func:`rejected_folder` of it.

    A sample is rejected where no object has a mask, a mask floods the image, its quality is too low, a model that is asked
    objects, or noise learning does not confirm the mask. Interrupted and called again, no finished fold is trained again,
    and no model is asked again. Both folders hold ``rejections.jsonl``: sample id, filter, reason and score of every
    rejected sample. Where models were asked, ``opinions.jsonl`` has their scores of every sample, and ``recipe.yaml`` says
    which they were.

    Args:
        dataset: A folder, a URL or a Hub id.
        output: The folder or URL of the samples that are kept.
        folds: Parts of noise learning: a segmenter trained on the others judges each. 0 leaves it out.
        drop_share: The share of each class that noise learning drops; None for what stands out.
        min_quality: The least quality.
        epochs: How often the segmenter of noise learning sees every sample.
        training: Fields of :class:`diffumask_datasets.segmentation.settings.TrainingSettings` on top of those of
            :data:`diffumask_datasets.curation.noise.NOISE_TRAINING`.
        presence: An image-text model (CLIP, SigLIP), a folder or Hub id, that must see each class where its mask is.
        segmenter: A promptable segmenter (SAM), a folder or Hub id, that must confirm each mask.
        concepts: A segmenter that takes names (SAM 3), a folder or Hub id, that must find each class by its name.
        min_agreement: The least IoU of a mask with what either segmenter finds.
        ask: A vision-language model, a folder or Hub id, that must say yes when it is asked for each class.
        flipped: Gives of a row the IoU of each class with that of the mirrored image, such as
            ``diffumask_datasets.generation.flipping.flip_judge`` makes; under 0.6 a sample is rejected.
        keep_opinions: Add the column ``opinions``: filter → score.

    Returns:
        How many samples each filter rejected.

    Raises:
        ExportError: ``dataset`` is no dataset folder, or nothing would be left, or ``output`` cannot be written.
        RecipeError: options that are out of range, or too few samples for the folds.
        ModelError, TrainingError: a model cannot be loaded, or the training of the segmenter cannot go on.
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
    panel = panel_of(
        source,
        presence=presence,
        segmenter=segmenter,
        concepts=concepts,
        min_agreement=min_agreement,
        ask=ask,
        flipped=flipped,
    )
    work = work_folder(target, "folds")
    with exclusive(work, target):
        rejections, rest, scores = _by_themselves(source, min_quality, Hearing(panel, source, work))
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
        judged = with_opinions(source, scores) if keep_opinions else source
        for place, chosen in ((target, kept), (rejected_target, gone)):
            if chosen:
                _write(judged, place, rejections, scores, kept=chosen, asked=panel.described)
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


def _by_themselves(
    source: OpenDataset, min_quality: float, hearing: Hearing
) -> tuple[list[Rejection], dict[int, str], Scores]:
    """The samples that speak against themselves; of the others position → sample id; all that was asked."""
    rejections: list[Rejection] = []
    rest: dict[int, str] = {}
    scores: dict[str, dict[str, float]] = {}
    fills = source.recipe.background is None
    for place, (_, row) in enumerate(tqdm(source.rows(), total=source.total, disable=None if hearing.asks else True)):
        rejection = reject_by_itself(row, min_quality=min_quality, fills=fills)
        if rejection is None:
            heard = hearing.about(row)
            scores[row["sample_id"]] = {name: round(one.score, 4) for name, one in heard.items()}
            rejection = _objection(row["sample_id"], heard)
        if rejection:
            rejections.append(rejection)
        else:
            rest[place] = row["sample_id"]
    return rejections, rest, scores


def _objection(sample_id: str, heard: Mapping[str, Heard]) -> Rejection | None:
    """The first objection as a rejection."""
    for name, one in heard.items():
        if one.objection is not None:
            return Rejection(sample_id, name, one.objection, one.score)
    return None


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


def _write(
    source: OpenDataset,
    output: Location,
    rejections: Sequence[Rejection],
    scores: Scores,
    *,
    kept: set[str],
    asked: Mapping[str, Any],
) -> None:
    files = {REJECTIONS_FILE: (source.text_of(REJECTIONS_FILE) or "") + _lines(map(dataclasses.asdict, rejections))}
    told = [{"sample_id": sample_id, **heard} for sample_id, heard in scores.items() if heard]
    if told:
        files[OPINIONS_FILE] = _lines(told)
    before = source.history.get(CURATED, {})
    history = {**source.history, CURATED: {**before, **asked}} if asked else None
    rewrite_subset(source, output, kept, files=files, history=history)


def _lines(entries: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries)
