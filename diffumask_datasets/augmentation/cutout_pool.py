"""The objects that other samples can lend: an index over their instances, each cut out when it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from diffumask_datasets.augmentation.cutouts import Cutout, cut_out, with_instances
from diffumask_datasets.augmentation.scene import Others, Scene
from diffumask_datasets.errors import RecipeError

__all__ = ["CutoutPool"]

WHOLE_BLOCK = 64
"""Samples that are looked at before it is said that none is good enough: as many as lend each other pixels at most."""

Weights = Callable[[Sequence[int]], npt.NDArray[np.float64]]
"""Class ids of candidates → how likely each is drawn."""


class CutoutPool:
    """Draws cut-outs from ``lenders``, then from others: each object once before any comes again.

    Args:
        lenders: Samples that are there already.
        others: Draws more of them.
        count: How many are drawn at first.
        min_quality: Samples of lower quality lend nothing.
        stuff: Class ids that are no objects.
        rng: Decides what is drawn.
    """

    def __init__(
        self,
        lenders: Sequence[Scene],
        others: Others,
        *,
        count: int,
        min_quality: float,
        rng: np.random.Generator,
        stuff: Collection[int] = (),
    ) -> None:
        self._others, self._min_quality, self._stuff, self._rng = others, min_quality, stuff, rng
        own = self._index(lenders)
        self._candidates, self._own = [*own, *self._index(others(count, rng))], len(own)
        self._drawn: list[tuple[Scene, int]] = []
        self._looked_at_all = False

    def draw(self, weights: Weights) -> Cutout | None:
        """An object that can be trusted; None where the weights of all are 0.

        Raises:
            RecipeError: No sample within reach has one.
        """
        while True:
            if not self._candidates:
                self._refill()
            chances = weights([scene.things[number - 1].category for scene, number in self._candidates])
            if chances[: self._own].any():
                chances[self._own :] = 0
            if chances.any():
                place = int(self._rng.choice(len(chances), p=chances / chances.sum()))
                scene, number = self._candidates.pop(place)
                self._own -= place < self._own
                cutout = cut_out(scene, number)
                if cutout is not None:
                    self._drawn.append((scene, number))
                    return cutout
            elif not self._look_at_all():
                return None

    def _refill(self) -> None:
        """All that could be trusted comes again; where nothing could, all samples within reach are looked at."""
        self._candidates, self._drawn = self._drawn, []
        if not self._candidates and not (self._look_at_all() and self._candidates):
            raise RecipeError(
                f"augment: no sample is good enough to cut an object from: it takes a quality of {self._min_quality:g} or "
                "more, and an object in full view that no two opposite borders cut off; lower min_quality of compose, or "
                "add samples"
            )

    def _look_at_all(self) -> bool:
        """Adds the objects of all samples within reach; False where that was done before."""
        if self._looked_at_all:
            return False
        self._candidates += self._index(self._others(WHOLE_BLOCK, self._rng))
        self._looked_at_all = True
        return True

    def _index(self, scenes: Sequence[Scene]) -> list[tuple[Scene, int]]:
        good = [self._objects_of(scene) for scene in scenes if _quality(scene) >= self._min_quality]
        return [
            (scene, number)
            for scene in good
            for number, thing in enumerate(scene.things, start=1)
            if thing.category not in self._stuff
        ]

    def _objects_of(self, scene: Scene) -> Scene:
        """The scene with instances, none of them of stuff: what stands on a road is not hidden by it."""
        scene = with_instances(scene)
        if not self._stuff:
            return scene
        return scene.replaced(instances=np.where(np.isin(scene.label, [*self._stuff]), 0, scene.instances))


def _quality(scene: Scene) -> float:
    """That of the worst sample it is made of."""
    return min((origin.quality for origin in scene.origins), default=0.0)
