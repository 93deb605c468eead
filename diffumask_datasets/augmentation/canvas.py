"""A scene on which cut-outs are pasted one over the other, and how much of each object stays visible."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.augmentation.blending import blended
from diffumask_datasets.augmentation.cutouts import UNDECIDED, Cutout
from diffumask_datasets.augmentation.scene import HeatMaps, Part, Region, Scene
from diffumask_datasets.recipes.augment_settings import Compose
from diffumask_datasets.sample import IGNORE

__all__ = ["Canvas", "covered_by", "owned_by"]

DECIDED = 178
"""Opacity above which a pixel belongs to an object. Between it and its counterpart 255 - DECIDED the mask is 255."""

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Canvas:
    """A scene under construction. ``full`` and ``visible`` count the pixels of each instance, before and after hiding.

    Those of stuff are 0 in ``full``: it is no object, and may be covered as a whole. ``amodal`` are the masks of all before
    anything was pasted over them.
    """

    scene: Scene
    settings: Compose
    full: list[int]
    visible: list[int]
    amodal: list[Part]

    @classmethod
    def of(cls, scene: Scene, settings: Compose, stuff: Collection[int] = ()) -> Canvas:
        """A copy of the scene to paste on."""
        areas = np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1).tolist()
        areas[0] = 0
        full = [0, *(0 if thing.category in stuff else n for thing, n in zip(scene.things, areas[1:], strict=True))]
        maps = {category: soft.copy() for category, soft in scene.heat_maps.items()}
        arrays = {name: getattr(scene, name).copy() for name in ("image", "label", "instances")}
        return cls(scene.replaced(heat_maps=maps, **arrays), settings, full, areas, list(scene.amodal) or _parts(scene))

    @property
    def categories(self) -> list[int]:
        """The class ids of the objects that are there."""
        return [thing.category for thing, area in zip(self.scene.things, self.full[1:], strict=True) if area]

    def hidden(self, covered: Mask, region: Region) -> npt.NDArray[np.intp] | None:
        """Pixels of each instance that an object would cover; None where too little of one would stay visible."""
        counts = np.bincount(self.scene.instances[region][covered], minlength=len(self.full))
        least = self.settings.min_visible
        fine = all(self.visible[n] - counts[n] >= least * self.full[n] for n in np.flatnonzero(counts) if n)
        return counts if fine else None

    def paste(self, piece: Cutout, region: Region, hidden: npt.NDArray[np.intp]) -> None:
        """Draws a cut-out over everything that is in a region of its shape; it hides so many pixels of each instance."""
        scene, number = self.scene, len(self.full)
        owned, covered = owned_by(piece.alpha, self.settings), covered_by(piece.alpha, self.settings)
        scene.image[region] = blended(scene.image[region], piece.image, piece.alpha, blend=self.settings.blend)
        scene.label[region][covered] = IGNORE
        scene.label[region][owned] = piece.thing.category
        scene.instances[region][covered] = 0
        scene.instances[region][owned] = number
        self.visible = [area - lost for area, lost in zip(self.visible, hidden.tolist(), strict=True)]
        area = int(np.count_nonzero(owned))
        self.visible.append(area)
        self.full.append(area)
        self.amodal.append((region, owned))
        maps = self._with_heat(piece, region, covered)
        origins = (*scene.origins, *(origin for origin in piece.origins if origin not in scene.origins))
        self.scene = scene.replaced(things=(*scene.things, piece.thing), origins=origins, heat_maps=maps)

    def _with_heat(self, piece: Cutout, region: Region, covered: Mask) -> HeatMaps:
        maps = dict(self.scene.heat_maps)
        for category in piece.heat_maps.keys() - maps.keys():
            maps[category] = np.zeros(self.scene.size, np.uint8)
        for category, soft in maps.items():
            soft[region][covered] = piece.heat_maps[category][covered] if category in piece.heat_maps else 0
        return maps

    def finished(self) -> Scene:
        """The scene as it is now."""
        return self.scene.replaced(amodal=tuple(self.amodal))


def _parts(scene: Scene) -> list[Part]:
    """The masks of the things of a scene, as far as they are visible."""
    boxes = ndimage.find_objects(scene.instances, max_label=len(scene.things))
    nowhere = (slice(0, 0), slice(0, 0))
    found = enumerate((box or nowhere for box in boxes), start=1)
    return [(box, scene.instances[box] == number) for number, box in found]


def owned_by(alpha: Pixels, settings: Compose) -> Mask:
    """The pixels that belong to an object of this opacity."""
    return alpha > (UNDECIDED if settings.blend == "hard" else DECIDED)


def covered_by(alpha: Pixels, settings: Compose) -> Mask:
    """The pixels that no longer belong to what is below: those of the object, and of its soft edge, which are 255."""
    return alpha > (UNDECIDED if settings.blend == "hard" else 255 - DECIDED)
