"""The drawn world as a dataset: scenes with exact masks, what an experiment takes for real data.

``load_dataset("diffumask", "toybox-rendered", split=…)``, in the columns of the config ``default``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diffumask_datasets.dataset.schema import Row, row_of
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.masks.objects import describe_objects
from diffumask_datasets.recipes.splits import SPLIT_STARTS, split_of
from diffumask_datasets.sample import Sample
from diffumask_datasets.toybox.scene import Scene, render_scene
from diffumask_datasets.toybox.world import CLASS_NAMES, class_id

__all__ = ["CONFIG_NAME", "DEFAULT_SIZES", "RenderedScenes"]

CONFIG_NAME = "toybox-rendered"

DEFAULT_SIZES = {"train": 4000, "validation": 500, "test": 500}
"""Scenes in each split where no other number is asked for."""

WORLD_VERSION = 1
"""Raised whenever the same seed would draw another scene than before."""

SMALLEST, LARGEST = 16, 4096


@dataclass(frozen=True)
class RenderedScenes:
    """Scene k of a split follows from (split, k) alone; the splits share no seed. Sizes in pixels.

    Raises:
        RecipeError: a size out of 16..4096.
    """

    height: int = 128
    width: int = 128

    def __post_init__(self) -> None:
        for name, size in (("height", self.height), ("width", self.width)):
            if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
                raise RecipeError(f"{name}: expected a number of pixels from {SMALLEST} to {LARGEST}, got {size!r}")

    @property
    def classes(self) -> tuple[str, ...]:
        """The world's class names; class id = position + 1."""
        return CLASS_NAMES

    @property
    def digest(self) -> str:
        """Twelve hex digits that name these scenes; the start of every sample id."""
        content = f"{CONFIG_NAME}/{WORLD_VERSION}/{self.height}x{self.width}"
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """The ``default`` rows of the indices ``start`` ≤ k < ``stop``; the index tells the split (``plan``)."""
        for index in range(start, stop):
            split = split_of(index)
            seed = index - SPLIT_STARTS[split]
            scene = render_scene(seed, size=(self.height, self.width), split=split)
            yield index, row_of(self._sample(scene, f"{self.digest}-{index:08d}", seed=seed))

    def _sample(self, scene: Scene, sample_id: str, *, seed: int) -> Sample:
        visible = tuple(int(value) for value in np.unique(scene.semantic) if value)
        return Sample(
            sample_id=sample_id,
            image=scene.image,
            label=scene.semantic,
            instances=scene.instances.astype(np.uint16),
            objects=describe_objects(
                scene.instances,
                categories=[class_id(found.class_name) for found in scene.objects],
                scores=[1.0] * len(scene.objects),
            ),
            prompted=visible,
            classes=visible,
            prompt=scene.caption,
            seed=seed,
            model=CONFIG_NAME,
            # A pixel belongs to the object that covers at least half of it.
            thresholds=(0.5,) * len(visible),
            quality=1.0,
        )
