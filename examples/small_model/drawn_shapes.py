"""Drawn things that are nothing in particular: what a promptable segmenter learns objects from.

None of the ten classes of the drawn world is among them. Backgrounds, outlines and light are those of the drawn world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffumask_datasets.toybox.backgrounds import draw_background
from diffumask_datasets.toybox.drawing import Palette, Part, Pen, Points, ellipse_points, make_palette, normalised
from diffumask_datasets.toybox.layout import PlacedObject
from diffumask_datasets.toybox.scene import Image8, rasterise
from diffumask_datasets.toybox.world import BACKGROUNDS, COLOURS, Rgb

__all__ = ["ShapeScene", "draw_shape_scene"]

COUNT_SHARES = (0.2, 0.3, 0.25, 0.15, 0.1)
"""How often a scene has one to five objects."""

LARGEST_ALONE = 0.46
"""Radius of the largest object of a scene of its own, as a share of the image's side."""

TOUCHING_SHARE = 0.5
"""Share of objects that are put beside or onto an earlier one."""

COPY_SHARE = 0.4
"""Share of objects that repeat the shape and colours of an earlier one."""

FIRST_SEED = 70_000_000
"""Streams start here, clear of every other use of the drawn world."""


@dataclass(frozen=True)
class ShapeScene:
    """An image, uint8 (side, side, 3), its instances, uint8 (side, side), 0 none then 1..n, and the kind of each.

    Instances of one kind are copies of each other. One may be hidden and have no pixel.
    """

    image: Image8
    instances: Image8
    kinds: tuple[int, ...]


def draw_shape_scene(seed: int, *, side: int = 128) -> ShapeScene:
    """The scene ``seed``, which follows from it alone."""
    rng = np.random.default_rng([FIRST_SEED, seed])
    placed: list[PlacedObject] = []
    kinds: list[int] = []
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    for _ in range(count):
        source = int(rng.integers(len(placed))) if placed and rng.random() < COPY_SHARE else None
        item = _new_object(rng) if source is None else placed[source]
        kinds.append(max(kinds, default=-1) + 1 if source is None else kinds[source])
        placed.append(_posed(item, placed, count, rng))
    ground = draw_background(str(rng.choice(BACKGROUNDS)), (side, side), rng)
    image, instances = rasterise(placed, ground, rng)
    return ShapeScene(image, instances, tuple(kinds))


def _posed(item: PlacedObject, others: list[PlacedObject], count: int, rng: np.random.Generator) -> PlacedObject:
    largest = LARGEST_ALONE if count == 1 else 0.5 / np.sqrt(count)
    radius = float(rng.uniform(0.45, 1.0) * largest)
    x, y = rng.uniform(0.6 * radius, 1 - 0.6 * radius, 2)
    if others and rng.random() < TOUCHING_SHARE:
        other = others[int(rng.integers(len(others)))]
        angle, distance = rng.uniform(0, 2 * np.pi), (radius + other.radius) * rng.uniform(0.55, 1.0)
        x, y = np.clip((other.x + distance * np.cos(angle), other.y + distance * np.sin(angle)), 0.05, 0.95)
    turn, mirrored = float(rng.normal(0, 0.3)), bool(rng.random() < 0.5)
    return replace(item, x=float(x), y=float(y), radius=radius, turn=turn, mirrored=mirrored)


def _new_object(rng: np.random.Generator) -> PlacedObject:
    """A body, up to four limbs behind or before it, and up to four marks inside."""
    names = list(COLOURS)
    colour = COLOURS[str(rng.choice(names))] if rng.random() < 0.5 else _random_colour(rng)
    tones = make_palette(colour, rng)
    body = _outline(rng, 0.0, 0.0, 1.0)
    limbs = [_limb(rng, tones) for _ in range(int(rng.choice((0, 0, 1, 2, 3, 4))))]
    behind = int(rng.integers(len(limbs) + 1))
    pen = Pen()
    pen.parts.extend(limbs[:behind])
    pen.polygon(body, tones.main)
    pen.parts.extend(limbs[behind:])
    pen.parts.extend(_mark(rng, tones) for _ in range(int(rng.choice((0, 0, 1, 2, 4)))))
    return PlacedObject("shape", "any", tuple(normalised(pen.parts)), tones)


def _random_colour(rng: np.random.Generator) -> Rgb:
    red, green, blue = rng.uniform(20, 250, 3).tolist()
    return red, green, blue


def _limb(rng: np.random.Generator, tones: Palette) -> Part:
    """A smaller outline whose centre lies near the edge of the body, so that both hang together."""
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.7)
    return Part(_outline(rng, 0.8 * np.cos(angle), 0.8 * np.sin(angle), size), _tone(rng, tones), outlined=True)


def _mark(rng: np.random.Generator, tones: Palette) -> Part:
    """A spot or a stripe within the body."""
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    x, y = away * np.cos(angle), away * np.sin(angle)
    return Part(_outline(rng, x, y, rng.uniform(0.08, 0.3)), _tone(rng, tones), outlined=bool(rng.random() < 0.5))


def _tone(rng: np.random.Generator, tones: Palette) -> Rgb:
    choices = (tones.main, tones.dark, tones.light, tones.glass, tones.cream, tones.bark, tones.leaf, tones.paper)
    return choices[int(rng.choice(len(choices), p=(0.25, 0.2, 0.15, 0.08, 0.08, 0.08, 0.08, 0.08)))]


def _outline(rng: np.random.Generator, x: float, y: float, size: float) -> Points:
    """A closed outline of about the radius ``size`` around (x, y): ellipse, rectangle, polygon or blob."""
    narrow, turn = rng.uniform(0.35, 1.0), float(rng.uniform(0, np.pi))
    form = int(rng.integers(4))
    if form == 0:
        return ellipse_points(x, y, size, size * narrow, turn=turn)
    if form == 1:
        corners = ellipse_points(0, 0, size, size, start=np.pi / 4, end=9 * np.pi / 4, count=4)
        return _turned(corners * (1, narrow), turn, x, y)
    corners = _ragged(rng, size, narrow)
    if form == 3:
        pen = Pen()
        pen.blob([(float(a), float(b)) for a, b in corners], (0, 0, 0))
        corners = pen.parts[0].points
    return _turned(corners, turn, x, y)


def _ragged(rng: np.random.Generator, size: float, narrow: float) -> NDArray[np.float64]:
    """Corners (n, 2) of a star-shaped polygon; the more jagged, the more its radii differ."""
    count = int(rng.integers(3, 10))
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * (2 * np.pi / count)
    radii = size * rng.uniform(1 - rng.uniform(0, 0.6), 1, count)
    return np.stack([radii * np.cos(angles), narrow * radii * np.sin(angles)], axis=1)


def _turned(points: Points, turn: float, x: float, y: float) -> Points:
    """Points (n, 2) turned around the origin, then moved by (x, y)."""
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]]) + np.array([x, y])
