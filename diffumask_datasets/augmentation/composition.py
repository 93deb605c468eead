"""Composing: objects of other samples pasted over an image, each instance known exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.augmentation.backgrounds import photograph
from diffumask_datasets.augmentation.canvas import Canvas, covered_by, owned_by
from diffumask_datasets.augmentation.cutout_pool import CutoutPool
from diffumask_datasets.augmentation.cutouts import SMALLEST, Cutout, mirrored, resized_cutout, with_instances
from diffumask_datasets.augmentation.filling import filled
from diffumask_datasets.augmentation.scene import Others, Region, Scene
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import OTHERS, Compose, check_named_classes
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["composed"]

SIZES, POSITIONS = 4, 4
"""Sizes that are tried for an object, and positions for each, before it is left out."""

SMALLEST_SIDE = 8
"""Pixels of the shorter side of an image that objects can be pasted on."""


def composed(
    scene: Scene, others: Others, settings: Compose, rng: np.random.Generator, *, classes: Sequence[str] = ()
) -> Scene:
    """Gives the scene with objects of other samples pasted over it.

    Args:
        scene: What is pasted on. Its own objects stay, unless the settings lift them off or name other backgrounds.
        others: Draws the samples that lend objects.
        settings: How many objects, how large, how blended.
        rng: Decides everything that is drawn.
        classes: Names of the class ids from 1 up, where the settings name classes.

    Returns:
        The composed scene.

    Raises:
        RecipeError: No sample is good enough to cut from, the image is too small, or the settings name a class that is none.
    """
    if min(scene.size) < SMALLEST_SIDE:
        raise RecipeError(
            f"augment: objects cannot be composed on an image of {scene.size[0]}x{scene.size[1]} pixels (height x width); "
            f"expected {SMALLEST_SIDE} or more a side"
        )
    preferences = _Preferences.of(settings, classes)
    lenders: list[Scene] = []
    if settings.lift or settings.backgrounds is not None:
        lenders, scene = [scene], _emptied(scene, preferences, rng)
    canvas = Canvas.of(with_instances(scene), settings, preferences.stuff)
    missing = int(rng.integers(settings.objects[0], settings.objects[1] + 1)) - len(canvas.categories)
    if missing > 0:
        least = settings.min_quality
        pool = CutoutPool(lenders, others, count=missing, min_quality=least, stuff=preferences.stuff, rng=rng)
        _fill(canvas, pool, missing, preferences, rng)
    return canvas.finished()


@dataclass(frozen=True, slots=True)
class _Preferences:
    """The settings in class ids: sizes by class id (0 for all others), weights by (class id, other class id), and stuff."""

    settings: Compose
    sizes: Mapping[int, tuple[float, float]]
    together: Mapping[tuple[int, int], float]
    stuff: frozenset[int]

    @classmethod
    def of(cls, settings: Compose, classes: Sequence[str]) -> _Preferences:
        check_named_classes([settings], classes)
        ids = {name: number for number, name in enumerate([OTHERS, *classes])}
        sizes = {ids[name]: (smallest, largest) for name, smallest, largest in settings.sizes}
        together = {(ids[one], ids[other]): weight for one, other, weight in settings.co_occurrence}
        return cls(settings, sizes, together, frozenset(ids[name] for name in settings.stuff))

    def weights(self, candidates: Sequence[int], present: Sequence[int]) -> npt.NDArray[np.float64]:
        """How likely each candidate comes next: as often as its class goes with those that are there."""
        if not self.together or not present:
            return np.ones(len(candidates))
        return np.array([sum(self.together.get((one, other), 0.0) for one in set(present)) for other in candidates])

    def factor(self, cutout: Cutout, size: tuple[int, int], rng: np.random.Generator) -> float:
        """By how much the sides of a cut-out change on an image of that size; at most as far as it fits."""
        sides = {owner: math.sqrt(owner[0] * owner[1]) for owner in (size, cutout.source)}
        limits = self.sizes.get(cutout.thing.category, self.sizes.get(0))
        if limits:
            factor = rng.uniform(*limits) * sides[size] / math.sqrt(cutout.area)
        else:
            factor = rng.uniform(*self.settings.scale) * sides[size] / sides[cutout.source]
        return float(min(factor, *(side / own for side, own in zip(size, cutout.shape, strict=True))))


def _fill(canvas: Canvas, pool: CutoutPool, count: int, preferences: _Preferences, rng: np.random.Generator) -> None:
    for _ in range(count):
        cutout = pool.draw(lambda categories: preferences.weights(categories, canvas.categories))
        if cutout is None:
            return
        _place(canvas, cutout, preferences, rng)


def _place(canvas: Canvas, cutout: Cutout, preferences: _Preferences, rng: np.random.Generator) -> None:
    """Pastes the cut-out where enough of all others stays visible; nowhere, if a few tries find no such place."""
    settings, size = canvas.settings, canvas.scene.size
    if settings.mirror and rng.random() < 0.5:
        cutout = mirrored(cutout)
    for _ in range(SIZES):
        factor = preferences.factor(cutout, size, rng)
        piece = resized_cutout(cutout, factor)
        covered, area = covered_by(piece.alpha, settings), np.count_nonzero(owned_by(piece.alpha, settings))
        for _ in range(POSITIONS if area >= SMALLEST else 0):
            region = _region(piece, size, rng)
            hidden = canvas.hidden(covered, region)
            if hidden is not None:
                canvas.paste(piece, region, hidden)
                return


def _region(piece: Cutout, size: tuple[int, int], rng: np.random.Generator) -> Region:
    height, width = piece.shape
    top = _corner(rng, size[0] - height, first=piece.cut.top, last=piece.cut.bottom)
    left = _corner(rng, size[1] - width, first=piece.cut.left, last=piece.cut.right)
    return slice(top, top + height), slice(left, left + width)


def _corner(rng: np.random.Generator, room: int, *, first: bool, last: bool) -> int:
    """Where a cut-out begins along one side; one that a border cut off stays at that border."""
    drawn = int(rng.integers(0, room + 1))
    return 0 if first else room if last else drawn


def _emptied(scene: Scene, preferences: _Preferences, rng: np.random.Generator) -> Scene:
    """The scene without its objects, or a photograph as large as it."""
    nothing = np.zeros(scene.size, np.uint8)
    label, maps = nothing, dict.fromkeys(scene.heat_maps, nothing)
    if preferences.settings.backgrounds is not None:
        image = photograph(preferences.settings, rng, size=scene.size)
    else:
        stays = np.isin(scene.label, [0, *preferences.stuff])
        reach = 2 * max(2, max(scene.size) // 64) + 1  # the edge of an object has something of its colour
        image = filled(scene.image, ndimage.maximum_filter((~stays).astype(np.uint8), reach) > 0)
        # Which stuff was behind an object is not known.
        label = np.where(stays, scene.label, IGNORE if preferences.stuff else BACKGROUND).astype(np.uint8)
        maps |= {category: soft for category, soft in scene.heat_maps.items() if category in preferences.stuff}
    return Scene(image, label, np.zeros(scene.size, np.int32), (), (), maps)
