"""``diffumask curate``: the samples of a dataset folder whose masks are believed, and beside them the others."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from tqdm import tqdm

from diffumask_datasets.columns import Row
from diffumask_datasets.curation.noise import NOISE_TRAINING, Agreement, cross_validated_agreements, doubts
from diffumask_datasets.curation.rejection import Rejection, reject_by_itself
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.folder import check_target, read_rows, split_files, write_folder
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.recipe_file import RECIPE_FILE, origin, read_recipe_file
from diffumask_datasets.remasking import stored_recipe

__all__ = ["REJECTIONS_FILE", "curate", "rejected_folder"]

REJECTIONS_FILE = "rejections.jsonl"

EPOCHS = 60
"""Passes over the samples in the training of each fold."""


def curate(
    dataset: str | Path,
    output: str | Path,
    *,
    folds: int = 3,
    drop_share: float | None = None,
    min_quality: float = 0.0,
    epochs: int = EPOCHS,
    training: Mapping[str, Any] = NOISE_TRAINING,
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
    recipe, shown = stored_recipe(dataset, needs_heat_maps=False)
    rejected_output = rejected_folder(output)
    if dataset.resolve() in (output.resolve(), rejected_output.resolve()):
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that nothing is lost")
    check_target(output)
    check_target(rejected_output)
    if not 0 <= min_quality <= 1:
        raise RecipeError(f"min_quality lies in [0, 1], got {min_quality}")
    learn = _NoiseLearning(output.with_name(f".{output.name}.folds"), epochs, training)
    rejections = _rejections(dataset, recipe, folds, drop_share, min_quality, learn)
    gone = {rejection.sample_id for rejection in rejections}
    sizes = _sizes(dataset)
    if len(gone) == sum(sizes.values()):
        raise ExportError(f"all {len(gone)} samples of {dataset} would be rejected: {rejections[0].reason}, …")
    _write(dataset, output, recipe, shown, rejections, lambda sample_id: sample_id not in gone)
    if gone:
        _write(dataset, rejected_output, recipe, shown, rejections, lambda sample_id: sample_id in gone)
    shutil.rmtree(learn.folder, ignore_errors=True)
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
    learn: _NoiseLearning,
) -> list[Rejection]:
    judged = [(row["sample_id"], reject_by_itself(row, min_quality=min_quality)) for row in _rows(dataset)]
    rejections = [rejection for _, rejection in judged if rejection]
    rest = [place for place, (_, rejection) in enumerate(judged) if rejection is None]
    if folds and rest:
        ids = [judged[place][0] for place in rest]
        found = doubts(learn(dataset, rest, folds), recipe.classes, drop_share=drop_share)
        rejections += [Rejection(name, "noise", *doubt) for name, doubt in zip(ids, found, strict=True) if doubt]
    return rejections


@dataclass(frozen=True)
class _NoiseLearning:
    """Trains the folds in ``folder``, which outlives an interruption."""

    folder: Path
    epochs: int
    training: Mapping[str, Any]

    def __call__(self, dataset: Path, rest: Sequence[int], folds: int) -> list[dict[int, Agreement]]:
        fields = {**NOISE_TRAINING, **self.training}
        if "model" in self.training and "learning_rate" not in self.training:
            del fields["learning_rate"]  # that of the small one
        inside = len(rest) - len(rest) // folds
        fields.setdefault("steps", max(1, round(self.epochs * inside / fields.setdefault("batch_size", 16))))
        paths = [str(path) for path in itertools.chain.from_iterable(split_files(dataset).values())]
        columns = ["sample_id", "image", "label", "classes"]
        with tqdm(total=folds, unit="fold", disable=None) as progress:

            def heard(fold: int) -> None:
                progress.update()

            rows = datasets.Dataset.from_parquet(paths, columns=columns, cache_dir=str(self.folder / "rows"))
            content = json.dumps([rows._fingerprint, list(rest), fields], default=str)
            name = hashlib.sha256(content.encode()).hexdigest()[:12]
            return cross_validated_agreements(
                rows.select(rest), folds=folds, folder=self.folder / name, progress=heard, **fields
            )


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
