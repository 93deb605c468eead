"""How dense the scenes of a dataset are: objects and classes an image, and how many objects touch or hide each other."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.sample import Rle

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
    """Sums over images, of which each was asked to hold ``fewest`` objects; ``sparse`` of them hold fewer."""

    fewest: int = 0
    sparse: int = 0
    images: int = 0
    objects: int = 0
    classes: int = 0
    touching: int = 0
    hidden: int = 0

    def add(self, one: ImageDensity) -> None:
        """Counts one image."""
        self.images += 1
        self.sparse += one.objects < self.fewest
        self.objects += one.objects
        self.classes += one.classes
        self.touching += one.touching
        self.hidden += one.hidden

    def __str__(self) -> str:
        """``4.2 objects and 2.1 classes an image; 31 % of the objects touch another one, 12 % look partly hidden``."""
        images, objects = max(1, self.images), max(1, self.objects)
        sparse = (
            f"; {self.sparse} of {images} images hold fewer than {self.fewest}, as no more fit" if self.sparse else ""
        )
        return (
            f"{self.objects / images:.1f} objects and {self.classes / images:.1f} classes an image; "
            f"{self.touching / objects:.0%} of the objects touch another one, {self.hidden / objects:.0%} look partly hidden"
        ).replace("%", " %") + sparse


def image_density(row: Row, stuff: Collection[int] = ()) -> ImageDensity:
    """The density of one ``default`` row, from its objects alone; regions of the class ids ``stuff`` are none.

    An object counts as partly hidden where one that it touches covers a tenth of its convex hull, and more of it than the
    other way round: an estimate, as masks do not say what is in front.
    """
    cells = row["objects"]
    masks = zip(cells["category"], cells["segmentation"], strict=True)
    things = [(category, rle) for category, rle in masks if category not in stuff]
    instances = _instance_map([rle for _, rle in things])
    gap = max(2, round(GAP * max(instances.shape)))
    boxes = {
        number: tuple(slice(max(0, side.start - gap), side.stop + gap) for side in box)
        for number, box in enumerate(ndimage.find_objects(instances), start=1)
        if box is not None
    }
    near = {number: _neighbours(instances[box], number, gap) for number, box in boxes.items()}
    lost = {
        (number, front): share
        for number, box in boxes.items()
        for front, share in _hidden_shares(instances[box], number, near[number]).items()
    }
    hidden = {number for (number, front), share in lost.items() if share >= max(HIDDEN, lost.get((front, number), 0.0))}
    touching = sum(bool(found) for found in near.values())
    return ImageDensity(len(things), len({category for category, _ in things}), touching, len(hidden))


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


def _instance_map(segmentations: Sequence[Rle]) -> npt.NDArray[np.int32]:
    """(height, width) numbers of objects from 1 up; where they overlap, that of the last."""
    height, width = segmentations[0]["size"] if segmentations else (1, 1)
    instances = np.zeros((height, width), np.int32)
    for number, rle in enumerate(segmentations, start=1):
        instances[decode(rle, (height, width))] = number
    return instances


def _neighbours(instances: npt.NDArray[np.int32], number: int, gap: int) -> set[int]:
    """The other objects with less than the gap between them and object ``number``."""
    near = ndimage.maximum_filter((instances == number).astype(np.uint8), 2 * gap + 1) > 0
    return set(np.unique(instances[near]).tolist()) - {0, number}


def _hidden_shares(instances: npt.NDArray[np.int32], number: int, fronts: set[int]) -> dict[int, float]:
    """How much of the convex hull of object ``number`` each of some others covers."""
    if not fronts:
        return {}
    hull = _hull(instances == number)
    counts = np.bincount(instances[hull], minlength=max(fronts) + 1) / np.count_nonzero(hull)
    return {front: float(counts[front]) for front in fronts}


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
