"""What a reader made of a sample, and what of it is right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffumask_datasets.exporters.classes import normal
from diffumask_datasets.sample import BACKGROUND, IGNORE
from tests.readers.exported import Export, Truth, truths

__all__ = ["Reading", "judged", "number_of", "renumbered"]

ABSENT = 254
"""In a renumbered mask: a value that should not be there."""


@dataclass(frozen=True)
class Reading:
    """What a reader gives of a sample; None where it gives nothing of the kind.

    ``mask`` is in our class ids; objects and boxes (x, y, width, height) come with the class id.
    """

    sample_id: str
    image: np.ndarray | None = None
    mask: np.ndarray | None = None
    objects: Sequence[tuple[int, np.ndarray]] | None = None
    boxes: Sequence[tuple[int, Sequence[float]]] | None = None
    caption: str | None = None


def number_of(name: str, classes: Sequence[str]) -> int:
    """Our id of a class as a reader calls it."""
    return [normal(known) for known in classes].index(normal(name)) + 1


def renumbered(values: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """A mask with each value replaced; a value that is not named becomes one that is wrong anywhere."""
    table = np.full(int(values.max()) + 1, ABSENT, dtype=np.uint8)
    for value, number in numbers.items():
        if value < len(table):
            table[value] = number
    return table[values]


def judged(readings: Iterable[Reading], export: Export) -> str:
    """What was read and is right, a letter each; objects that differ have the lowest IoU beside them.

    Anything else that differs is an AssertionError.
    """
    expected, seen = truths(), list(readings)
    assert sorted(reading.sample_id for reading in seen) == sorted(expected)
    letters = {letter for reading in seen for letter in _letters(reading, expected[reading.sample_id], export)}
    assert letters, "nothing was read"
    overlaps = [_overlap(reading, expected[reading.sample_id]) for reading in seen]
    lowest = min(overlaps)
    told = "O" if lowest == 1 else f"O {math.floor(100 * lowest) / 100:.2f}"
    return " ".join(told if letter == "O" else letter for letter in "IJMOBC" if letter in letters)


def _letters(reading: Reading, truth: Truth, export: Export) -> str:
    letters = ""
    if reading.image is not None:
        np.testing.assert_array_equal(reading.image, truth.jpeg if export.is_jpeg else truth.image)
        letters += "J" if export.is_jpeg else "I"
    if reading.mask is not None:
        expected = truth.label if export.has_background else np.where(truth.label == BACKGROUND, IGNORE, truth.label)
        np.testing.assert_array_equal(reading.mask, expected)
        letters += "M"
    if reading.objects is not None:
        assert sorted(number for number, _ in reading.objects) == sorted(number for number, _ in truth.objects)
        letters += "O"
    if reading.boxes is not None:
        assert sorted((number, tuple(box)) for number, box in reading.boxes) == sorted(truth.boxes)
        letters += "B"
    if reading.caption is not None:
        assert reading.caption == truth.caption
        letters += "C"
    return letters


def _overlap(reading: Reading, truth: Truth) -> float:
    """The lowest IoU of an object with what was read of its class."""
    if reading.objects is None:
        return 1.0
    return min(
        max(_iou(mask, read) for other, read in reading.objects if other == number) for number, mask in truth.objects
    )


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float((one & other).sum() / (one | other).sum())
