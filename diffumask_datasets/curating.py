"""``diffumask curate``: the samples of a dataset folder whose masks are believed, and beside them the others."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from diffumask_datasets.columns import Row, decode_image
from diffumask_datasets.curation.noise import agreement_floors, cross_validated_agreements, doubtful
from diffumask_datasets.curation.rejection import Rejection, reject_by_itself
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.folder import check_target, read_rows, split_files, write_folder
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.recipe_file import RECIPE_FILE, origin, read_recipe_file
from diffumask_datasets.remasking import stored_recipe

if TYPE_CHECKING:
    from diffumask_datasets.curation.segmenter import SegmenterSettings

__all__ = ["REJECTIONS_FILE", "curate", "rejected_folder"]

REJECTIONS_FILE = "rejections.jsonl"


def curate(
    dataset: str | Path,
    output: str | Path,
    *,
    folds: int = 3,
    drop_share: float | None = None,
    min_quality: float = 0.0,
    settings: SegmenterSettings | None = None,
) -> Counter[str]:
    """Writes the believed samples of ``dataset`` to ``output``, the others to :func:`rejected_folder` of it.

    A sample is rejected where no object has a mask, a mask floods the image, its quality is under ``min_quality``, or a
    segmenter trained on the other ``folds`` does not confirm the mask (``folds`` 0 leaves that out). Both folders hold
    ``rejections.jsonl``: sample id, filter, reason and score of every rejected sample. How many each filter rejected is
    returned.

    Raises:
        ExportError: ``dataset`` is no dataset folder, or nothing would be left, or ``output`` cannot be written.
        RecipeError: options that are out of range, or too few samples for the folds.
    """
    dataset, output = Path(dataset), Path(output)
    recipe, shown = stored_recipe(dataset, needs_heat_maps=False)
    rejected_output = rejected_folder(output)
    if dataset.resolve() in (output.resolve(), rejected_output.resolve()):
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that nothing is lost")
    check_target(output)
    check_target(rejected_output)
    if not 0 <= min_quality <= 1:
        raise RecipeError(f"min_quality lies in [0, 1], got {min_quality}")
    rejections = _rejections(dataset, recipe, folds, drop_share, min_quality, settings)
    gone = {rejection.sample_id for rejection in rejections}
    sizes = _sizes(dataset)
    if len(gone) == sum(sizes.values()):
        raise ExportError(f"all {len(gone)} samples of {dataset} would be rejected: {rejections[0].reason}, …")
    _write(dataset, output, recipe, shown, rejections, lambda sample_id: sample_id not in gone)
    if gone:
        _write(dataset, rejected_output, recipe, shown, rejections, lambda sample_id: sample_id in gone)
    return Counter(rejection.filter for rejection in rejections)


def rejected_folder(output: Path) -> Path:
    """Where the rejected samples of ``output`` go: beside it, so that reading ``output`` does not find them."""
    return output.with_name(f"{output.name}-rejected")


def _rejections(
    dataset: Path,
    recipe: Recipe,
    folds: int,
    drop_share: float | None,
    min_quality: float,
    settings: SegmenterSettings | None,
) -> list[Rejection]:
    rejections, ids, images, labels = [], [], [], []
    for row in _rows(dataset):
        rejection = reject_by_itself(row, min_quality=min_quality)
        if rejection:
            rejections.append(rejection)
        else:
            ids.append(row["sample_id"])
            images.append(decode_image(row["image"]))
            labels.append(decode_image(row["label"]))
    if folds and ids:
        rejections += _unconfirmed(ids, images, labels, recipe.classes, folds, drop_share, settings)
    return rejections


def _unconfirmed(
    ids: Sequence[str],
    images: Sequence[npt.NDArray[np.uint8]],
    labels: Sequence[npt.NDArray[np.uint8]],
    classes: Sequence[str],
    folds: int,
    drop_share: float | None,
    settings: SegmenterSettings | None,
) -> list[Rejection]:
    from diffumask_datasets.backbones.steady import single_thread
    from diffumask_datasets.curation.segmenter import SegmenterSettings

    with single_thread(), tqdm(total=folds, unit="fold", disable=None) as progress:

        def heard(fold: int) -> None:
            progress.update()

        agreements = cross_validated_agreements(
            images,
            labels,
            classes=len(classes),
            folds=folds,
            settings=settings or SegmenterSettings(),
            progress=heard,
        )
    floors = agreement_floors(agreements, drop_share=drop_share)
    found = []
    for sample_id, sample in zip(ids, agreements, strict=True):
        doubt = doubtful(sample, floors, classes)
        if doubt:
            found.append(Rejection(sample_id, "noise", *doubt))
    return found


def _rows(dataset: Path) -> Iterator[Row]:
    return read_rows(itertools.chain.from_iterable(split_files(dataset).values()))


def _sizes(dataset: Path, keep: Callable[[str], bool] = lambda sample_id: True) -> dict[str, int]:
    """Samples of each split that are kept; splits without any are left out."""
    counts = {
        split: sum(keep(row["sample_id"]) for row in read_rows(paths, columns=["sample_id"]))
        for split, paths in split_files(dataset).items()
    }
    return {split: count for split, count in counts.items() if count}


def _write(
    dataset: Path,
    output: Path,
    recipe: Recipe,
    shown: dict[str, bool],
    rejections: Sequence[Rejection],
    keep: Callable[[str], bool],
) -> None:
    sizes, files = _sizes(dataset, keep), split_files(dataset)
    rows = {split: (row for row in read_rows(files[split]) if keep(row["sample_id"])) for split in sizes}
    lines = [json.dumps(dataclasses.asdict(rejection), ensure_ascii=False) for rejection in rejections]
    write_folder(
        output,
        rows,
        recipe=recipe,
        sizes=sizes,
        keep_heat_maps=shown["keep_heat_maps"],
        keep_threshold_curve=shown["keep_threshold_curve"],
        extra_fields=origin(read_recipe_file(dataset / RECIPE_FILE)),
        extra_files={REJECTIONS_FILE: "".join(f"{line}\n" for line in lines)},
    )
