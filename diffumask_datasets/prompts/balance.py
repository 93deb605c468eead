"""Which classes sample k is asked for: balanced, seeded per index, whatever the number of samples."""

from __future__ import annotations

import bisect
import functools
import itertools
import random

from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["draw_classes"]

BLOCK = 100
"""Indices in which weighted classes get their share, to within one sample."""


def draw_classes(recipe: Recipe, index: int) -> list[str]:
    """The classes of sample ``index``, ``classes_per_image`` of them, or fewer where too few occur together.

    The first is balanced: with equal weights every run of ``len(classes)`` indices has each class once, in a shuffled
    order; with given weights every run of 100 has each class in proportion. The others are drawn by co-occurrence.
    """
    first = _first_class(recipe, index)
    rng = random.Random(f"{recipe.seed}/others/{index}")
    if recipe.co_occurrence:
        return [first, *_companions(recipe, first, rng)]
    others = [name for name in recipe.classes if name != first]
    return [first, *rng.sample(others, recipe.classes_per_image - 1)]


def _first_class(recipe: Recipe, index: int) -> str:
    count = len(recipe.classes)
    if recipe.class_weights:
        block, place = divmod(index, BLOCK)
        return recipe.classes[_weighted_block(recipe.class_weights, f"{recipe.seed}/classes/{block}")[place]]
    block, place = divmod(index, count)
    # One shuffle a block keeps the classes balanced without knowing how many samples there will be.
    return random.Random(f"{recipe.seed}/classes/{block}").sample(recipe.classes, count)[place]


@functools.lru_cache(maxsize=16)
def _weighted_block(weights: tuple[float, ...], seed: str) -> list[int]:
    """Class indices of one block: evenly spaced ticks, at a random offset, on the weights laid end to end."""
    rng = random.Random(seed)
    ends = list(itertools.accumulate(weights))
    offset = rng.random()
    ticks = [(tick + offset) / BLOCK * ends[-1] for tick in range(BLOCK)]
    chosen = [min(bisect.bisect_right(ends, tick), len(ends) - 1) for tick in ticks]
    rng.shuffle(chosen)
    return chosen


def _companions(recipe: Recipe, first: str, rng: random.Random) -> list[str]:
    weights = {other: weight for name, other, weight in recipe.co_occurrence if name == first and weight > 0}
    chosen: list[str] = []
    while weights and len(chosen) < recipe.classes_per_image - 1:
        (name,) = rng.choices(list(weights), weights=list(weights.values()))
        chosen.append(name)
        del weights[name]
    return chosen
