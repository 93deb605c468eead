"""Textured backgrounds: each function gives float32 (height, width, 3) in [0, 255]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffumask_datasets.toybox.world import Rgb

Field = NDArray[np.float32]


def value_noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Smooth noise (height, width), roughly standard normal, with ``cells`` (rows, columns) random knots."""
    knots = rng.standard_normal(cells).astype(np.float32)
    height, width = size
    return np.asarray(Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC))


def _grid(size: tuple[int, int]) -> tuple[Field, Field]:
    y, x = ((np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(length) for length in size)
    return y[:, None], x[None, :]


def _shade(level: Field, low: Rgb, high: Rgb) -> Field:
    """Colour ramp: level 0 → ``low``, 1 → ``high``; (h, w) -> (h, w, 3)."""
    a, b = np.array(low, np.float32), np.array(high, np.float32)
    return np.asarray(a + (b - a) * level[..., None], dtype=np.float32)


def grass(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Muted green with patches and upright blades."""
    level = 0.5 + 0.16 * value_noise(rng, size, (5, 5)) + 0.13 * value_noise(rng, size, (16, 56))
    return _shade(level, (74, 104, 52), (134, 160, 88))


def sand(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Pale beige with wind ripples and grain."""
    y, x = _grid(size)
    bend = value_noise(rng, size, (4, 4))
    ripples = np.sin(2 * np.pi * (y * rng.uniform(8, 12) + x * rng.uniform(-2, 2)) + 1.4 * bend)
    level = np.asarray(0.5 + 0.17 * ripples + 0.12 * bend + 0.07 * value_noise(rng, size, (48, 48)), np.float32)
    return _shade(level, (188, 162, 116), (228, 206, 162))


def sea(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Muted blue-green water with horizontal waves and a few bright crests."""
    y, _ = _grid(size)
    bend = value_noise(rng, size, (5, 9))
    waves = np.sin(2 * np.pi * y * rng.uniform(7, 10) + 1.8 * bend)
    level = np.asarray(0.42 + 0.2 * waves + 0.1 * bend + 0.5 * np.maximum(waves - 0.8, 0), np.float32)
    return _shade(level, (52, 104, 128), (122, 172, 184))


def snow(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Bluish white with soft drifts and glitter."""
    level = 0.62 + 0.2 * value_noise(rng, size, (4, 4)) + 0.05 * value_noise(rng, size, (40, 40))
    return _shade(level, (186, 204, 224), (240, 246, 252))


def night(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Dark blue sky with small points of light."""
    y, _ = _grid(size)
    level = np.asarray(0.15 + 0.7 * y + 0.08 * value_noise(rng, size, (4, 4)), dtype=np.float32)
    sky = _shade(level, (14, 16, 40), (40, 44, 84))
    height, width = size
    count = int(rng.integers(18, 34))
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    sky[rows, columns] = rng.uniform(150, 245, (count, 1)).astype(np.float32)
    return sky


def sunset(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Sky from violet above to pale orange below, with cloud streaks."""
    y, _ = _grid(size)
    streaks = value_noise(rng, size, (9, 3))
    level = np.clip(y * 1.1 - 0.05 + 0.07 * streaks, 0.0, 1.0)
    lower = _shade(np.clip(2 * level - 1, 0, 1), (216, 120, 112), (246, 188, 124))
    upper = _shade(np.clip(2 * level, 0, 1), (96, 72, 128), (216, 120, 112))
    return np.where(level[..., None] < 0.5, upper, lower)


def bricks(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Brown-red bricks in running bond with pale mortar."""
    y, x = _grid(size)
    rows = int(rng.integers(7, 10))
    columns = rows / 2
    v = y * rows + rng.uniform(0, 1)
    row = np.floor(v).astype(np.int64)
    u = x * columns + rng.uniform(0, 1) + 0.5 * (row % 2)
    column = np.floor(u).astype(np.int64)
    tint = rng.uniform(0.0, 1.0, (rows + 2, int(columns) + 4)).astype(np.float32)[row, column]
    wall = _shade(tint * 0.8 + 0.06 * value_noise(rng, size, (32, 32)), (118, 70, 58), (160, 102, 84))
    mortar = (v - row < 0.12) | (u - column < 0.06)
    return np.where(mortar[..., None], np.array((186, 176, 164), np.float32), wall)


def wood(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Brown boards with grain running along them."""
    y, _ = _grid(size)
    boards = int(rng.integers(4, 6))
    v = y * boards + rng.uniform(0, 1)
    board = np.floor(v).astype(np.int64)
    tint = rng.uniform(-0.2, 0.2, boards + 2).astype(np.float32)[board]
    grain = np.sin(2 * np.pi * v * 3.0 + 2.2 * value_noise(rng, size, (10, 3)))
    level = 0.5 + tint + 0.14 * grain + 0.06 * value_noise(rng, size, (64, 8))
    planks = _shade(level, (112, 74, 44), (178, 130, 84))
    return np.where((v - board < 0.05)[..., None], np.array((72, 46, 28), np.float32), planks)


PAINT: Final[dict[str, Callable[[np.random.Generator, tuple[int, int]], Field]]] = {
    "grass": grass,
    "sand": sand,
    "sea": sea,
    "snow": snow,
    "night": night,
    "sunset": sunset,
    "bricks": bricks,
    "wood": wood,
}


def draw_background(name: str, size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Background ``name`` at ``size`` (height, width): float32 (height, width, 3) in [0, 255]."""
    light = np.float32(rng.uniform(0.92, 1.06))
    lit: Field = np.clip(PAINT[name](rng, size) * light, 0.0, 255.0).astype(np.float32)
    return lit
