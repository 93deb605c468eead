"""How dense the scenes of a dataset are: objects and classes an image, and how many objects touch or hide each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.masks.rle import decode

__all__ = ["Density", "ImageDensity", "image_density", "object_sizes"]

GAP = 1 / 128
"""Objects touch where less than this share of the longer side of the image lies between them, two pixels at least."""

HIDDEN = 0.1
"""Share of its convex hull that a touching object covers: from here on an object counts as partly hidden."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImageDensity:
    """Counts of one image: objects, classes, objects that touch another one, and objects that look partly hidden."""

    objects: int
    classes: int
    touching: int
    hidden: int


@dataclass(slots=True)
class Density:
    """Sums over images."""

    images: int = 0
    objects: int = 0
    classes: int = 0
    touching: int = 0
    hidden: int = 0

    def add(self, one: ImageDensity) -> None:
        """Counts one image."""
        self.images += 1
        self.objects += one.objects
        self.classes += one.classes
        self.touching += one.touching
        self.hidden += one.hidden

    def __str__(self) -> str:
        """``4.2 objects and 2.1 classes an image; 31 % of the objects touch another one, 12 % look partly hidden``."""
        images, objects = max(1, self.images), max(1, self.objects)
        return (
            f"{self.objects / images:.1f} objects and {self.classes / images:.1f} classes an image; "
            f"{self.touching / objects:.0%} of the objects touch another one, {self.hidden / objects:.0%} look partly hidden"
        ).replace("%", " %")


def image_density(row: Row) -> ImageDensity:
    """The density of one ``default`` row, from its objects alone.

    An object counts as partly hidden where one that it touches covers a tenth of its convex hull, and more of it than the
    other way round: an estimate, as masks do not say what is in front.
    """
    masks = _masks(row)
    pairs = list(_touching(masks))
    hulls = {index: _hull(masks[index]) for pair in pairs for index in pair}
    hidden = {index for one, other in pairs for index in _hidden_of(one, other, masks, hulls)}
    classes = len(set(row["objects"]["category"]))
    return ImageDensity(len(masks), classes, len({index for pair in pairs for index in pair}), len(hidden))


def object_sizes(rows: Iterable[Row], classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """How large the objects of each class are in these rows: between which sizes nine of ten lie.

    A size is the square root of the share of its image that an object covers, as the ``sizes`` of a composition are. A class
    without objects is left out.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        objects = row["objects"]
        for category, area, rle in zip(objects["category"], objects["area"], objects["segmentation"], strict=True):
            height, width = rle["size"]
            found.setdefault(classes[category - 1], []).append(math.sqrt(area / (height * width)))
    limits = {name: np.quantile(sizes, (0.05, 0.95)).tolist() for name, sizes in found.items()}
    return {name: (round(limits[name][0], 4), round(limits[name][1], 4)) for name in classes if name in limits}


def _masks(row: Row) -> list[Mask]:
    return [decode(rle, tuple(rle["size"])) for rle in row["objects"]["segmentation"]]


def _touching(masks: list[Mask]) -> Iterator[tuple[int, int]]:
    """Pairs of indices of objects with less than the gap between them."""
    for index, mask in enumerate(masks):
        gap = max(2, round(GAP * max(mask.shape)))
        box = _box(mask, gap)
        if box is None:
            continue
        near = ndimage.maximum_filter(mask[box].astype(np.uint8), 2 * gap + 1) > 0
        for other in range(index + 1, len(masks)):
            if (masks[other][box] & near).any():
                yield index, other


def _hidden_of(one: int, other: int, masks: list[Mask], hulls: dict[int, Mask]) -> Iterator[int]:
    """Which of two touching objects the other one hides, if any."""
    lost = {index: _share(hulls[index], masks[front]) for index, front in ((one, other), (other, one))}
    index = max(lost, key=lambda number: lost[number])
    if lost[index] >= HIDDEN:
        yield index


def _share(hull: Mask, front: Mask) -> float:
    return float(np.count_nonzero(hull & front) / np.count_nonzero(hull))


def _box(mask: Mask, margin: int) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return slice(top, int(rows[-1]) + margin + 1), slice(left, int(columns[-1]) + margin + 1)


def _hull(mask: Mask) -> Mask:
    """The convex hull of a mask, filled."""
    rows = np.flatnonzero(mask.any(axis=1))
    lefts, rights = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([lefts, rows], axis=1), np.stack([rights, rows], axis=1)])  # (2 * rows, 2): x, y
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line
        return mask
    picture = Image.new("1", mask.shape[::-1])
    ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners.tolist()], fill=1, outline=1)
    return np.asarray(picture) | mask
