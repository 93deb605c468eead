"""One sample through a list of augmentations, seeded by its own key, with other samples where they are needed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from diffumask_datasets.augmentation.changes import blurred, occluded, seen_from_elsewhere
from diffumask_datasets.augmentation.composition import composed
from diffumask_datasets.augmentation.scene import Others, Scene, changed_columns, scene_of, tidied
from diffumask_datasets.augmentation.splicing import spliced
from diffumask_datasets.dataset.schema import Row, png_cell
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import (
    AugmentSettings,
    Blur,
    Compose,
    Occlude,
    Perspective,
    Splice,
    check_grids,
)
from diffumask_datasets.recipes.grids import GRIDS, fits, grid_size

__all__ = ["FetchScene", "augmented", "block_of", "cached_scenes", "drawn_others", "row_from"]

FetchScene = Callable[[int], Scene]
"""The sample at a position."""

SMALL_BLOCK, LARGE_BLOCK = 16, 64
"""Positions that lend each other pixels. A grid of more than 16 tiles draws from 64."""


def augmented(
    scene: Scene,
    steps: Sequence[AugmentSettings],
    *,
    seed: int,
    key: str,
    others: Others,
    classes: Sequence[str] = (),
) -> Scene:
    """Gives the scene after the steps, in order.

    Args:
        scene: The sample.
        steps: The augmentations.
        seed: With ``key`` and the steps, decides everything that is drawn.
        key: Names the sample.
        others: Draws the samples that lend it pixels.
        classes: Names of the class ids from 1 up, for steps that name classes.

    Returns:
        The augmented scene.

    Raises:
        RecipeError: A grid that is too large for the scene, an unknown class, or no sample good enough to cut from.
    """
    for position, step in enumerate(steps):
        rng = np.random.default_rng(_seed(f"{seed}/augment/{position}/{step.kind}/{key}"))
        if rng.random() < step.probability:
            scene = _changed(scene, step, rng, others, classes)
    return tidied(scene)


def row_from(scene: Scene, row: Row, sample_id: str) -> Row:
    """Turns an augmented scene into a row; images are encoded.

    Args:
        scene: What became of the sample.
        row: The row of the sample, which gives all other columns.
        sample_id: The id of the new row.

    Returns:
        The row.
    """
    return {**row, **changed_columns(scene, row, png_cell), "sample_id": sample_id}


def cached_scenes(fetch: Callable[[int], Row]) -> FetchScene:
    """The samples of the rows that ``fetch`` gives; the last sixteen stay decoded."""
    return functools.lru_cache(maxsize=SMALL_BLOCK)(lambda position: scene_of(fetch(position)))


def drawn_others(fetch: FetchScene, position: int, candidates: range) -> Others:
    """Draws other samples at random, each once before any comes again. Drawing raises RecipeError where there is no other.

    Args:
        fetch: Gives the scene at a position.
        position: That of the sample itself, which is never drawn.
        candidates: The positions that are drawn from.

    Returns:
        What draws some of them.
    """
    places = [place for place in candidates if place != position]

    def draw(count: int, rng: np.random.Generator) -> list[Scene]:
        if not places:
            raise RecipeError(
                "augment: splicing, occlusion and composition take pixels from other samples, and there is only one"
            )
        chosen: list[int] = []
        while len(chosen) < count:
            chosen += rng.permutation(places)[: count - len(chosen)].tolist()
        return [fetch(place) for place in chosen]

    return draw


def block_of(position: int, steps: Sequence[AugmentSettings], *, total: int | None = None) -> range:
    """Finds the positions that lend a sample others. A run that would hold one position alone takes the run before it too.

    Args:
        position: That of the sample.
        steps: The augmentations.
        total: The number of samples, if it is known.

    Returns:
        A run of 16 or 64 positions.
    """
    small = all(not isinstance(step, Splice) or step.grid in GRIDS[:4] for step in steps)
    size = SMALL_BLOCK if small else LARGE_BLOCK
    start = position - position % size
    stop = start + size if total is None else min(start + size, total)
    return range(start - size if stop - start < 2 and start else start, stop)


def _changed(
    scene: Scene, step: AugmentSettings, rng: np.random.Generator, others: Others, classes: Sequence[str]
) -> Scene:
    if isinstance(step, Splice):
        return _spliced(scene, step, rng, others)
    if isinstance(step, Blur):
        return blurred(scene, step, rng)
    if isinstance(step, Occlude):
        (other,) = others(1, rng)
        return occluded(scene, other, step, rng)
    if isinstance(step, Compose):
        return composed(scene, others, step, rng, classes=classes)
    assert isinstance(step, Perspective)
    return seen_from_elsewhere(scene, step, rng)


def _spliced(scene: Scene, step: Splice, rng: np.random.Generator, others: Others) -> Scene:
    height, width = scene.size
    check_grids([step], height=height, width=width)
    fitting = [grid for grid in GRIDS if step.native_size or fits(grid, height, width)]
    grid = step.grid or (fitting[int(rng.integers(len(fitting)))] if fitting else None)
    if grid is None:
        check_grids([step.model_copy(update={"grid": GRIDS[0]})], height=height, width=width)
        return scene
    rows, columns = grid_size(grid)
    count = rows * columns
    tiles = [scene, *others(count - 1, rng)]
    order = rng.permutation(count)
    return spliced([tiles[number] for number in order], rows, columns, size=scene.size, native_size=step.native_size)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
