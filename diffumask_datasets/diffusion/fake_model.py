"""A test double that plants known attention in known places: nothing to download, every mask exact."""

from __future__ import annotations

import colorsys
import hashlib
import math
import os
import time
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from diffumask_datasets.attention.maps import AttentionMaps
from diffumask_datasets.diffusion.pixels import to_uint8
from diffumask_datasets.diffusion.protocol import GenerationRequest, ImageWithAttention
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["FakeModel", "planted_colour", "planted_mask"]

SMALLEST = 16


class FakeModel:
    """Paints each class as one solid shape on noise and says exactly where it looked.

    Attention comes at image resolution: 1 on the shape, 0.02 to 0.1 elsewhere, so that any sensible threshold gives
    :func:`planted_mask`. An image depends on its prompt, seed and size alone. ``images_painted`` counts over all
    instances of the process. ``seconds_per_image`` makes it slow; seeds in ``broken_seeds`` paint NaN.
    """

    images_painted = 0

    def __init__(self, *, seconds_per_image: float = 0.0, broken_seeds: frozenset[int] = frozenset()) -> None:
        self._seconds_per_image = seconds_per_image
        self._broken_seeds = broken_seeds

    @classmethod
    def from_environment(cls) -> FakeModel:
        """Reads ``DIFFUMASK_PLANTED_SECONDS`` and ``DIFFUMASK_PLANTED_BROKEN`` (seeds with commas between them)."""
        broken = os.environ.get("DIFFUMASK_PLANTED_BROKEN", "")
        return cls(
            seconds_per_image=float(os.environ.get("DIFFUMASK_PLANTED_SECONDS", "0")),
            broken_seeds=frozenset(int(seed) for seed in broken.split(",") if seed),
        )

    def check(self, recipe: Recipe) -> None:
        """Raises RecipeError for a side under 16 pixels."""
        for name, size in (("height", recipe.height), ("width", recipe.width)):
            if size < SMALLEST:
                raise RecipeError(f"{name} {size} cannot be painted by this model: sizes are at least {SMALLEST}")

    def check_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Nothing: prompts of any length are read whole."""

    def paint(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> list[ImageWithAttention]:
        """Paints one batch, in order; raises ModelError for a broken seed."""
        return [self._paint_one(request, recipe.height, recipe.width) for request in requests]

    def _paint_one(self, request: GenerationRequest, height: int, width: int) -> ImageWithAttention:
        time.sleep(self._seconds_per_image)
        mask = planted_mask(request.prompt, request.seed, height=height, width=width)
        noise = np.random.default_rng(request.seed)
        image = _texture(noise, height, width)
        for index, category in enumerate(request.prompt.categories):
            image[mask == index + 1] = np.array(planted_colour(category)) / 255
        if request.seed in self._broken_seeds:
            image[:] = np.nan
        painting = ImageWithAttention(to_uint8(image[None])[0], _attention(request.prompt, mask, noise))
        FakeModel.images_painted += 1
        return painting


def planted_mask(prompt: Prompt, seed: int, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Where :class:`FakeModel` paints: uint8 (``height``, ``width``), 0 or 1 + index in ``prompt.categories``.

    Each class stands in a cell of its own of a square grid, as a rectangle or an ellipse, both drawn from ``seed``.
    """
    rng = np.random.default_rng([seed, 1])
    side = math.ceil(math.sqrt(len(prompt.categories)))
    cells = rng.permutation(side * side)
    mask = np.zeros((height, width), np.uint8)
    for index in range(len(prompt.categories)):
        row, column = divmod(int(cells[index]), side)
        top, bottom = _within(rng, row * height // side, (row + 1) * height // side)
        left, right = _within(rng, column * width // side, (column + 1) * width // side)
        box = mask[top:bottom, left:right]
        box[_ellipse(*box.shape) if rng.random() < 0.5 else np.ones(box.shape, bool)] = index + 1
    return mask


def planted_colour(category: str) -> tuple[int, int, int]:
    """The saturated RGB colour of a class, derived from its name."""
    hue = int.from_bytes(hashlib.sha256(category.encode()).digest()[:2], "big") / 2**16
    red, green, blue = colorsys.hsv_to_rgb(hue, 1.0, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _within(rng: np.random.Generator, start: int, stop: int) -> tuple[int, int]:
    """A range of 50 to 80 % of ``start:stop`` that lies inside it."""
    length = max(1, round((stop - start) * rng.uniform(0.5, 0.8)))
    first = start + int(rng.integers(0, stop - start - length + 1))
    return first, first + length


def _ellipse(height: int, width: int) -> npt.NDArray[np.bool_]:
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return np.asarray(y[:, None] ** 2 + x[None, :] ** 2 <= 1)


def _texture(noise: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float64]:
    """Grey (height, width, 3) around 0.5."""
    return np.repeat(0.5 + noise.uniform(-0.1, 0.1, (height, width, 1)), 3, axis=2)


def _attention(prompt: Prompt, mask: npt.NDArray[np.uint8], noise: np.random.Generator) -> AttentionMaps:
    categories = prompt.categories
    weights = noise.uniform(0.02, 0.1, (len(categories), *mask.shape)).astype(np.float32)
    for index in range(len(categories)):
        weights[index][mask == index + 1] = 1
    return AttentionMaps(categories, {mask.shape: torch.from_numpy(weights)}, {mask.shape: 1})
