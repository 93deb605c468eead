"""Objects cut out of samples: which of them can be trusted, and their pixels with a soft edge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.augmentation.resizing import smooth
from diffumask_datasets.augmentation.scene import HeatMaps, Origin, Scene, Thing
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["SMALLEST", "UNDECIDED", "Cutout", "cut_out", "mirrored", "resized_cutout", "with_instances"]

SMALLEST = 16
"""Pixels of an object: of less, nothing can be recognized."""

MOST_SHARED = 0.1
"""Share of what surrounds an object that may be other objects: of more, one may hide a part of it."""

WHOLE = 0.9
"""Share of an object that its largest part has at least: of less, something lies in front of it, or the mask is wrong."""

UNDECIDED = 127
"""Opacity of the pixels between an object and its background that refinement left at 255: about half, by definition."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sides:
    """At which borders of its image an object is cut off."""

    top: bool
    left: bool
    bottom: bool
    right: bool

    @property
    def whole(self) -> bool:
        """Whether no two opposite borders cut it: then it can still stand at the border that does."""
        return not (self.top and self.bottom) and not (self.left and self.right)


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """One object with a margin around it; arrays share height and width.

    Attributes:
        image: uint8 (height, width, 3).
        alpha: uint8 (height, width), opacity: 255 for pixels of the object, 0 for those of its surroundings.
        heat_maps: Soft maps by class id, uint8 (height, width).
        thing: Its class and score.
        origins: The sample it was cut out of, or those that were joined in it.
        cut: The borders of that sample's image that cut it off.
        source: Height and width of that image.
    """

    image: Pixels
    alpha: Pixels
    heat_maps: HeatMaps
    thing: Thing
    origins: tuple[Origin, ...]
    cut: Sides
    source: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, margin included."""
        height, width = self.alpha.shape
        return height, width

    @property
    def area(self) -> int:
        """Pixels that are certainly of the object."""
        return int(np.count_nonzero(self.alpha > UNDECIDED))


def cut_out(scene: Scene, number: int) -> Cutout | None:
    """Cuts instance ``number`` out of a scene, if it can be trusted.

    None where it is too small or in several parts, where another object may hide a part of it (a tenth of what surrounds it
    is other objects), and where two opposite borders of the image cut it off. Crumbs beside the object are left behind.
    """
    mask = _main_part(scene.instances == number)
    rows, columns = _extent(mask.any(axis=1)), _extent(mask.any(axis=0))
    height, width = scene.size
    cut = Sides(rows.start == 0, columns.start == 0, rows.stop == height, columns.stop == width)
    if not cut.whole or np.count_nonzero(mask) < SMALLEST:
        return None
    margin = max(2, max(scene.size) // 128)
    padded = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in (rows, columns))
    alpha = mask[padded].astype(np.uint8) * 255
    around = (ndimage.maximum_filter(alpha, 2 * margin + 1) > 0) & (alpha == 0)
    if np.count_nonzero(scene.instances[padded][around]) > MOST_SHARED * np.count_nonzero(around):
        return None
    alpha[around & (scene.label[padded] == IGNORE)] = UNDECIDED
    maps = {category: soft[padded] for category, soft in scene.heat_maps.items()}
    return Cutout(scene.image[padded], alpha, maps, scene.things[number - 1], scene.origins, cut, scene.size)


def with_instances(scene: Scene) -> Scene:
    """The scene; where it has no instances, each connected region of a class becomes one."""
    if scene.things:
        return scene
    instances = np.zeros(scene.size, np.int32)
    things: list[Thing] = []
    for category in np.unique(scene.label).tolist():
        if category not in (BACKGROUND, IGNORE):
            regions, count = ndimage.label(scene.label == category)
            instances += np.where(regions > 0, regions + len(things), 0).astype(np.int32)
            things += [Thing(category, 1.0)] * count
    return scene.replaced(instances=instances, things=tuple(things))


def mirrored(cutout: Cutout) -> Cutout:
    """The cut-out with left and right exchanged."""
    return replace(
        cutout,
        image=cutout.image[:, ::-1],
        alpha=cutout.alpha[:, ::-1],
        heat_maps={category: soft[:, ::-1] for category, soft in cutout.heat_maps.items()},
        cut=replace(cutout.cut, left=cutout.cut.right, right=cutout.cut.left),
    )


def resized_cutout(cutout: Cutout, factor: float) -> Cutout:
    """The cut-out with sides ``factor`` times as long: by area (up: linearly), so that its edge is soft."""
    height, width = (max(1, int(side * factor)) for side in cutout.shape)

    def resized(pixels: Pixels) -> Pixels:
        return smooth(np.ascontiguousarray(pixels), height, width)

    maps = {category: resized(soft) for category, soft in cutout.heat_maps.items()}
    return replace(cutout, image=resized(cutout.image), alpha=resized(cutout.alpha), heat_maps=maps)


def _main_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest connected part of a mask; nothing, if it is less than :data:`WHOLE` of it."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    areas = np.bincount(parts.ravel())[1:]
    largest: npt.NDArray[np.bool_] = parts == int(areas.argmax()) + 1
    return largest if areas.max() >= WHOLE * areas.sum() else np.zeros_like(mask)


def _extent(occupied: npt.ArrayLike) -> slice:
    """From the first to the last that is occupied; empty where none is."""
    places = np.flatnonzero(occupied)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
