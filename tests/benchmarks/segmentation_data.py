"""The labelled images of the experiments on the toybox: drawn scenes stand for real ones, the model paints the rest.

Each kind of data says what it is (``identity``, which names all that is made of it), makes itself once under a folder
(``make``) and opens there (``rows``). All are frozen, so that other processes can be told of them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import datasets
import numpy as np

from diffumask_datasets.curation.agreement import Agreement, Claim, SampleAgreement, sample_agreement
from diffumask_datasets.curation.doubt import Doubt, class_doubts
from diffumask_datasets.curation.noise import NOISE_TRAINING
from diffumask_datasets.dataset.schema import decode_label, png_cell
from diffumask_datasets.generation.engines.devices import gpu_count
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.recipes.file import RECIPE_FILE
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.cross_validation import train_and_predict
from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, render_scene
from diffumask_datasets.toybox.rendered import RenderedScenes

PROCESSES = os.cpu_count() or 1
FOLDS = 3

TRAINING: Mapping[str, Any] = {
    **NOISE_TRAINING,
    "height": 64,
    "width": 64,
    "checkpoint_every": 200,
    "precision": "float32",  # the same table with and without a GPU
}
"""The settings of every training but its length: those of noise learning, half as large as the scenes."""

BATCH_ON_GPU = 16
"""Images generated at once on a GPU; on the CPU one at a time is as fast."""

Fields = tuple[tuple[str, Any], ...]
"""(field, value): a mapping that can be hashed."""


class Data(Protocol):
    """Labelled images under a folder."""

    @property
    def needs(self) -> tuple[Data, ...]:
        """What must be made before."""

    def identity(self, folder: Path) -> Any:
        """What JSON can hold; as long as it stays, so does the content."""

    def make(self, folder: Path) -> None:
        """Makes what is missing; goes on where it was interrupted."""

    def rows(self, folder: Path) -> Any:
        """A map-style dataset."""


@dataclass(frozen=True)
class Drawn:
    """Drawn scenes with exact masks, only those before ``backgrounds``; the splits share none."""

    split: str
    count: int
    backgrounds: tuple[str, ...] = BACKGROUNDS
    needs: ClassVar[tuple[Data, ...]] = ()

    def identity(self, folder: Path) -> Any:
        return [RenderedScenes().digest, self.split, self.count, self.backgrounds]

    def make(self, folder: Path) -> None:
        self.rows(folder)

    def rows(self, folder: Path) -> Any:
        extent = {"splits": {self.split: self.count}, "cache_dir": str(folder / "datasets")}
        rows = datasets.load_dataset("diffumask", "toybox-rendered", split=self.split, **extent)
        if self.backgrounds == BACKGROUNDS:
            return rows
        grounds = [render_scene(seed, split=self.split).background for seed in rows["seed"]]
        return rows.select([place for place, ground in enumerate(grounds) if ground in self.backgrounds])


@dataclass(frozen=True)
class GeneratedImage:
    """What the shipped model paints and labels, with its soft maps; ``captions`` of so many drawn scenes are the prompts."""

    count: int
    fields: Fields = ()
    captions: int = 0
    needs: ClassVar[tuple[Data, ...]] = ()

    def identity(self, folder: Path) -> Any:
        return [_digest(self, folder), self.count]

    def make(self, folder: Path) -> None:
        place = self.place(folder)
        if not (place / RECIPE_FILE).exists():
            # Without mask_workers on a GPU too: these are small images, and a process for each core refines its own.
            speed = {"workers": PROCESSES, "mask_workers": 0, "batch_size": BATCH_ON_GPU if gpu_count() else 1}
            wanted = {"num_samples": self.count, "keep_heat_maps": True, **speed}
            generate(place, store=str(folder / "store"), **wanted, **self.recipe(folder))

    def rows(self, folder: Path) -> Any:
        return _opened(self.place(folder), folder)

    def place(self, folder: Path) -> Path:
        """Its dataset folder."""
        return folder / "painted" / _name(self, folder)

    def recipe(self, folder: Path) -> dict[str, Any]:
        """Its fields."""
        fields = {"classes": list(CLASS_NAMES), **dict(self.fields)}
        if self.captions:
            fields["prompts"] = Drawn("train", self.captions).rows(folder)["prompt"][:]
        return fields


@dataclass(frozen=True)
class Remasked:
    """The same images with masks made anew from their soft maps."""

    of: GeneratedImage
    settings: Fields

    @property
    def needs(self) -> tuple[Data, ...]:
        return (self.of,)

    def identity(self, folder: Path) -> Any:
        return [self.of.identity(folder), self.settings]

    def make(self, folder: Path) -> None:
        place = self._place(folder)
        if not (place / RECIPE_FILE).exists():
            remask(self.of.place(folder), place, **dict(self.settings))

    def rows(self, folder: Path) -> Any:
        return _opened(self._place(folder), folder)

    def _place(self, folder: Path) -> Path:
        return folder / "remasked" / _name(self, folder)


@dataclass(frozen=True)
class Fold:
    """One part of the images, judged by a segmenter that is trained on the others for so many ``steps``."""

    of: GeneratedImage
    number: int
    steps: int

    @property
    def needs(self) -> tuple[Data, ...]:
        return (self.of,)

    def identity(self, folder: Path) -> Any:
        return [self.of.identity(folder), self.number, FOLDS, self.steps, TRAINING]

    def make(self, folder: Path) -> None:
        """For each image of the fold, the agreement of its masks and the prediction."""
        path = self._path(folder)
        if path.exists():
            return
        rows = self.of.rows(folder)
        held_out = [index for index in range(len(rows)) if index % FOLDS == self.number]
        predictions = train_and_predict(
            rows,
            train_on=[index for index in range(len(rows)) if index % FOLDS != self.number],
            predict_on=held_out,
            folder=folder / "models" / f"fold-{self.number}-{path.stem}",
            steps=self.steps,
            **TRAINING,
        )
        found = {
            index: dataclasses.asdict(sample_agreement(seen, decode_label(rows[index]["label"])))
            for index, seen in zip(held_out, predictions, strict=True)
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(found), encoding="utf-8")
        draft.replace(path)

    def agreements(self, folder: Path) -> dict[int, SampleAgreement]:
        """By row."""
        found = json.loads(self._path(folder).read_text(encoding="utf-8"))
        return {
            int(row): SampleAgreement(
                {int(class_id): Agreement(**fields) for class_id, fields in sample["masks"].items()},
                {int(class_id): Claim(**fields) for class_id, fields in sample["claims"].items()},
            )
            for row, sample in found.items()
        }

    def _path(self, folder: Path) -> Path:
        return folder / "agreements" / f"{_name(self, folder)}.json"


@dataclass(frozen=True)
class Believed:
    """Noise learning: the first ``count`` images left after the share ``drop`` of each class, the least confirmed, is gone.

    All are drawn from the first ``count / (1 - drop)`` images, so that as many are left whatever the share, as in the paper.
    Without ``drop`` from all of them, less those that ``diffumask curate`` doubts by itself. ``alone`` leaves out the images
    that do not show exactly one class. With ``ignore`` every image stays, and the pixels of a doubted class are ignored.
    """

    of: GeneratedImage
    folds: tuple[Fold, ...]
    drop: float | None
    count: int
    alone: bool = False
    ignore: bool = False

    @property
    def needs(self) -> tuple[Data, ...]:
        return (self.of, *self.folds)

    def identity(self, folder: Path) -> Any:
        ways = [way for way in ("alone", "ignore") if getattr(self, way)]
        return [[fold.identity(folder) for fold in self.folds], self.drop, self.count, *ways]

    def make(self, folder: Path) -> None:
        """Nothing: it is chosen when it is read."""

    def rows(self, folder: Path) -> Any:
        judged = self.judged(folder)
        kept = [row for row, found in judged.items() if self.ignore or not found][: self.count]
        rows = self.of.rows(folder).select(kept)
        if self.ignore:
            doubted = [list(judged[row]) for row in kept]
            rows = rows.map(lambda row, place: _without(row, doubted[place]), with_indices=True)
        return rows

    def judged(self, folder: Path) -> dict[int, dict[int, Doubt]]:
        """Row → class id → why its mask is doubted."""
        by_row = {row: sample for fold in self.folds for row, sample in fold.agreements(folder).items()}
        rows = [row for row in sorted(by_row) if not self.alone or len(by_row[row].masks) == 1]
        if self.drop is not None:
            rows = rows[: round(self.count / (1 - self.drop))]
        found = class_doubts([by_row[row] for row in rows], CLASS_NAMES, drop_share=self.drop)
        return dict(zip(rows, found, strict=True))


def _without(row: Mapping[str, Any], doubted: Sequence[int]) -> dict[str, Any]:
    label = decode_label(row["label"])
    return {"label": png_cell(np.where(np.isin(label, doubted), IGNORE, label).astype(np.uint8))}


def _opened(place: Path, folder: Path) -> Any:
    return datasets.load_dataset(str(place), split="train", cache_dir=str(folder / "datasets"))


@functools.lru_cache(maxsize=64)
def _digest(painted: GeneratedImage, folder: Path) -> str:
    return prepare(Recipe.of(**painted.recipe(folder))).digest


def _name(data: Data, folder: Path) -> str:
    return hashlib.sha256(json.dumps(data.identity(folder)).encode()).hexdigest()[:16]
