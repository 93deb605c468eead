"""The images of a segmentation dataset that bench_real shows to a model, with their classes given."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.vocabulary import VOCABULARIES, load_vocabulary
from diffumask_datasets.sample import BACKGROUND, IGNORE
from diffumask_datasets.segmentation.labelled import (
    Example,
    LabelledImages,
    plain_name,
    read_example,
    read_mask,
    translated,
    translation,
)

MOST_CLASSES = 8
"""Images that show more are left out: their prompt would be a list, and long ones are truncated."""

KINDS = ("single", "several")


@dataclass(frozen=True, slots=True)
class RealImage:
    """An image, its truth, uint8 (height, width), in the recipe's class ids (255 is ignored), and the ids that it shows."""

    name: str
    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    shown: tuple[int, ...]

    @property
    def kind(self) -> str:
        return KINDS[len(self.shown) > 1]


@dataclass
class RealImages:
    """The chosen images of a dataset, in the class ids of a recipe: the same ones in the same order at every run.

    Images of one class and of several take turns, so that a run that is cut short has seen both.
    ``left_out`` counts what was passed over on the way.
    """

    data: LabelledImages
    classes: tuple[str, ...]
    per_kind: int
    left_out: dict[str, int] = field(default_factory=lambda: {"without a class": 0, "of too many classes": 0})

    def __post_init__(self) -> None:
        self._table = translation(self.data, self.classes, rename={}, others=BACKGROUND, background=BACKGROUND)

    def chosen(self) -> list[int]:
        """The numbers of their rows.

        Raises:
            DataError: no image shows a class, or a file cannot be read.
        """
        rows: dict[str, list[int]] = {kind: [] for kind in KINDS}
        for number in np.random.default_rng(0).permutation(len(self.data.rows)).tolist():
            if all(len(found) >= self.per_kind for found in rows.values()):
                break
            if kind := self._kind(number):
                rows[kind].append(number)
        turns = itertools.zip_longest(*(found[: self.per_kind] for found in rows.values()))
        chosen = [number for turn in turns for number in turn if number is not None]
        if not chosen:
            raise DataError(f"no image shows between 1 and {MOST_CLASSES} of the classes {', '.join(self.classes)}")
        return chosen

    def read(self, numbers: Sequence[int]) -> Iterator[RealImage]:
        """The images at these rows."""
        for number in numbers:
            example = read_example(self.data.rows[number], self.data.colours)
            truth = translated(example, self._table)
            yield RealImage(example.sample_id, example.image, truth, _ids(truth))

    def _kind(self, number: int) -> str | None:
        row = self.data.rows[number]
        mask = read_mask(row, self.data.colours)
        shown = _ids(translated(Example(str(row["sample_id"]), np.zeros((0, 0, 3), np.uint8), mask), self._table))
        if not shown or len(shown) > MOST_CLASSES:
            self.left_out["of too many classes" if shown else "without a class"] += 1
            return None
        return KINDS[len(shown) > 1]


def classes_for(data: LabelledImages, asked: Sequence[str], model: str) -> str | list[str]:
    """What a recipe for this dataset is given as ``classes``: the words of a vocabulary that has them all, if there is one.

    Args:
        data: The dataset.
        asked: Some of its classes, all of them where empty; the others count as background.
        model: The name of the model.

    Raises:
        DataError: a class that the dataset does not have.
    """
    known = {plain_name(name): name for names in data.names.values() for name in names}
    strange = [name for name in asked if plain_name(name) not in known]
    if strange:
        raise DataError(f"CLASSES: {strange[0]!r} is none of the dataset's: {', '.join(data.classes)}")
    wanted = list(asked or data.classes)
    if model == "toybox":
        return wanted
    for vocabulary in sorted(VOCABULARIES, key=lambda name: name != "voc"):
        spelt = {plain_name(name): name for name in load_vocabulary(vocabulary).names}
        if all(plain_name(name) in spelt for name in wanted):
            return f"{vocabulary}:" + ",".join(spelt[plain_name(name)] for name in wanted)
    return wanted


def _ids(truth: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(int(value) for value in np.unique(truth) if value not in (BACKGROUND, IGNORE))
