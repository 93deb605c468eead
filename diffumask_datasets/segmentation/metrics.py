"""Counting right and wrong pixels: IoU per class, pixel accuracy, boundary IoU. All follow from sums over the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.errors import ShapeError, UnknownClassError, suggestion
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.labelled import Pixels, plain_name

__all__ = ["BOUNDARY_SHARE", "OpenVocabulary", "Scores", "Tally", "boundary", "image_iou"]

Counts = npt.NDArray[np.int64]

BOUNDARY_SHARE = 0.02
"""Width of the band that boundary IoU looks at, as a share of the image's diagonal (Cheng et al., CVPR 2021)."""


@dataclass(frozen=True)
class Scores:
    """Figures in [0, 1] over a whole dataset; a class that neither masks nor predictions show is nan and not in the mean.

    ``miou`` is the mean over the classes that count (with the background where the benchmark counts it), ``miou_classes``
    that without the background. ``confusion`` (classes, classes) counts pixels: rows truth, columns prediction.
    """

    classes: tuple[str, ...]
    iou: tuple[float, ...]
    boundary_iou: tuple[float, ...]
    miou: float
    miou_classes: float
    mean_boundary_iou: float
    pixel_accuracy: float
    images: int
    confusion: Counts

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, nan as None, for JSON."""
        plain = {
            name: _plain(getattr(self, name))
            for name in ("miou", "miou_classes", "mean_boundary_iou", "pixel_accuracy", "images")
        }
        per_class = {
            name: {"iou": _plain(iou), "boundary_iou": _plain(edge)}
            for name, iou, edge in zip(self.classes, self.iou, self.boundary_iou, strict=True)
        }
        return {**plain, "classes": per_class, "confusion": self.confusion.tolist()}

    def table(self) -> str:
        """The figures in percent, a line for each class."""
        width = max(len(name) for name in (*self.classes, "without background"))
        lines = [f"{'':{width}}  {'IoU':>6}  {'boundary':>8}"]
        for name, iou, edge in zip(self.classes, self.iou, self.boundary_iou, strict=True):
            lines.append(f"{name:{width}}  {100 * iou:6.2f}  {100 * edge:8.2f}")
        lines.append(f"{'mean':{width}}  {100 * self.miou:6.2f}  {100 * self.mean_boundary_iou:8.2f}")
        lines.append(f"{'without background':{width}}  {100 * self.miou_classes:6.2f}")
        lines.append(f"{'pixel accuracy':{width}}  {100 * self.pixel_accuracy:6.2f}  on {self.images} images")
        return "\n".join(lines)


@dataclass(frozen=True)
class OpenVocabulary:
    """Mean IoU of the classes with real masks (seen) and of those without (unseen), and their harmonic mean."""

    seen: float
    unseen: float
    harmonic: float

    @classmethod
    def of(cls, scores: Scores, unseen: Sequence[str], *, background: int | None) -> OpenVocabulary:
        """Splits the classes, the background being neither.

        Raises:
            UnknownClassError: an unseen class that was not judged.
        """
        withheld = {plain_name(name) for name in unseen}
        for name in unseen:
            if plain_name(name) not in map(plain_name, scores.classes):
                raise UnknownClassError(f"unseen: {name!r} is no judged class{suggestion(name, scores.classes)}")
        known: list[float] = []
        hidden: list[float] = []
        for number, name in enumerate(scores.classes):
            if number != background:
                (hidden if plain_name(name) in withheld else known).append(scores.iou[number])
        seen, other = _mean(np.array(known)), _mean(np.array(hidden))
        return cls(seen, other, 2 * seen * other / (seen + other) if seen + other else 0.0)

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers, nan as None, for JSON."""
        return {"seen": _plain(self.seen), "unseen": _plain(self.unseen), "harmonic": _plain(self.harmonic)}

    def table(self) -> str:
        """The three figures in percent."""
        return f"seen {100 * self.seen:.2f}  unseen {100 * self.unseen:.2f}  harmonic mean {100 * self.harmonic:.2f}"


class Tally:
    """Adds up images. Labels and predictions are uint8 (height, width) of ids 0..K-1; 255 in a label counts nowhere."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.images = 0
        self._pixels = np.zeros((count, count), dtype=np.int64)
        self._edges = np.zeros((count, count), dtype=np.int64)
        self._true_edges = np.zeros(count, dtype=np.int64)
        self._predicted_edges = np.zeros(count, dtype=np.int64)

    def add(self, label: Pixels, prediction: Pixels) -> Counts:
        """Adds one image; returns its own confusion (count, count).

        Raises:
            ShapeError: arrays of different sizes, or an id that is no class.
        """
        if label.shape != prediction.shape:
            raise ShapeError(f"prediction: expected the mask's shape {label.shape}, got {prediction.shape}")
        counted = label != IGNORE
        confusion = self._confusion(label[counted], prediction[counted])
        self._pixels += confusion
        self._add_edges(label, np.where(counted, prediction, IGNORE).astype(np.uint8), counted)
        self.images += 1
        return confusion

    def pixels_of(self, class_id: int) -> int:
        """How many pixels of the masks so far have that id."""
        return int(self._pixels[class_id].sum())

    def scores(self, classes: Sequence[str], *, background: int | None, counted: Sequence[int] | None = None) -> Scores:
        """The figures so far. ``counted`` are the ids whose mean is ``miou``, all of them where it is None."""
        truth, predicted, both = self._pixels.sum(axis=1), self._pixels.sum(axis=0), np.diag(self._pixels)
        iou = _ratio(both, truth + predicted - both)
        edges = np.diag(self._edges)
        boundary_iou = _ratio(edges, self._true_edges + self._predicted_edges - edges)
        ids = list(range(self.count)) if counted is None else list(counted)
        return Scores(
            classes=tuple(classes),
            iou=tuple(iou.tolist()),
            boundary_iou=tuple(boundary_iou.tolist()),
            miou=_mean(iou[ids]),
            miou_classes=_mean(iou[[number for number in range(self.count) if number != background]]),
            mean_boundary_iou=_mean(boundary_iou[ids]),
            pixel_accuracy=float(both.sum() / truth.sum()) if truth.sum() else float("nan"),
            images=self.images,
            confusion=self._pixels.copy(),
        )

    def _confusion(self, label: Pixels, prediction: Pixels) -> Counts:
        highest = max(int(label.max(initial=0)), int(prediction.max(initial=0)))
        if highest >= self.count:
            raise ShapeError(f"expected class ids from 0 to {self.count - 1}, got {highest}")
        pairs = label.astype(np.int64) * self.count + prediction
        return np.bincount(pairs.ravel(), minlength=self.count**2).reshape(self.count, self.count)

    def _add_edges(self, label: Pixels, prediction: Pixels, counted: npt.NDArray[np.bool_]) -> None:
        true_edge, predicted_edge = (boundary(mask) & counted for mask in (label, prediction))
        shared = true_edge & predicted_edge
        self._edges += self._confusion(label[shared], prediction[shared])
        self._true_edges += np.bincount(label[true_edge], minlength=self.count)
        self._predicted_edges += np.bincount(prediction[predicted_edge], minlength=self.count)


def boundary(label: Pixels) -> npt.NDArray[np.bool_]:
    """Pixels of (height, width) that are near another value or the image's edge: the inner band of every region at once.

    Its width is :data:`BOUNDARY_SHARE` of the diagonal, at least one pixel, in the chessboard distance that eroding with a
    3x3 square has.
    """
    height, width = label.shape
    distance = max(1, round(BOUNDARY_SHARE * float(np.hypot(height, width))))
    # The frame has a value that no mask has, so that the image's edge bounds a region as in the reference.
    framed = np.pad(label.astype(np.int16), distance, constant_values=-1)
    size = 2 * distance + 1
    lowest = ndimage.minimum_filter(framed, size=size)[distance:-distance, distance:-distance]
    highest = ndimage.maximum_filter(framed, size=size)[distance:-distance, distance:-distance]
    near: npt.NDArray[np.bool_] = lowest != highest
    return near


def image_iou(confusion: Counts) -> float:
    """Mean IoU of one image over the classes that its mask or its prediction shows; 1.0 where nothing is counted."""
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return float(np.mean(both[union > 0] / union[union > 0])) if (union > 0).any() else 1.0


def _ratio(part: Counts, whole: Counts) -> npt.NDArray[np.float64]:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
