"""Where objects go: sizes, places, overlap and cropping, planned on a coarse raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diffumask_datasets.toybox.drawing import Palette, Part, Points

RADII = {1: (0.34, 0.46), 2: (0.21, 0.29), 3: (0.17, 0.22)}
"""Number of objects to the range of their radius (half the longer side), as a share of the shorter image side."""

MIN_INSIDE = 0.75
MIN_VISIBLE = 0.60
CROP_SHARE = 0.12
OVERLAP_SHARE = 0.35
ROTATION_SIGMA = 0.05
_COARSE = 40
_TRIES = 40


@dataclass(frozen=True)
class PlacedObject:
    """An object with its pose: centre and radius in units of the shorter image side, turn in radians."""

    class_name: str
    colour: str
    parts: tuple[Part, ...]
    tones: Palette
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.4
    turn: float = 0.0
    mirrored: bool = False

    def placed(self, points: Points) -> Points:
        """Local points (N, 2) in scene units."""
        x = -points[:, 0] if self.mirrored else points[:, 0]
        cos, sin = np.cos(self.turn) * self.radius, np.sin(self.turn) * self.radius
        return np.stack([self.x + x * cos - points[:, 1] * sin, self.y + x * sin + points[:, 1] * cos], axis=1)

    def polygons(self) -> list[Points]:
        """Every part's points in scene units, in drawing order (one transform for all: this is the hot path)."""
        ends = np.cumsum([len(part.points) for part in self.parts])[:-1]
        return np.split(self.placed(np.concatenate([part.points for part in self.parts])), ends)


def _silhouette(item: PlacedObject, extent: tuple[float, float]) -> NDArray[np.bool_]:
    """Coarse silhouette (rows, columns) over the frame and a margin of 0.5 units around it."""
    canvas = Image.new("L", (int((extent[1] + 1) * _COARSE), int((extent[0] + 1) * _COARSE)))
    draw = ImageDraw.Draw(canvas)
    for part, points in zip(item.parts, item.polygons(), strict=True):
        if part.outlined:
            draw.polygon(((points + 0.5) * _COARSE).ravel().tolist(), fill=1)
    return np.asarray(canvas, dtype=bool)


def _half_sides(item: PlacedObject) -> tuple[float, float]:
    points = item.placed(np.concatenate([part.points for part in item.parts])) - (item.x, item.y)
    half = np.abs(points).max(axis=0)
    return float(half[0]), float(half[1])


def _draw_pose(
    item: PlacedObject, count: int, shrink: float, crop: bool, extent: tuple[float, float], rng: np.random.Generator
) -> PlacedObject:
    low, high = RADII[count]
    posed = replace(
        item,
        radius=float(rng.uniform(low, high)) * shrink,
        turn=float(np.clip(rng.normal(0.0, ROTATION_SIGMA), -0.15, 0.15)),
    )
    centre = []
    for half, side in zip(_half_sides(posed), (extent[1], extent[0]), strict=True):
        margin = half * (0.6 if crop else 1.0) + (0.0 if crop else 0.01)
        low, high = min(margin, side / 2), max(side - margin, side / 2)
        middling = high > low and count == 1 and not crop
        centre.append(float(rng.triangular(low, side / 2, high) if middling else rng.uniform(low, high)))
    return replace(posed, x=centre[0], y=centre[1])


def _inside(shape: NDArray[np.bool_]) -> float:
    margin = _COARSE // 2
    return float(shape[margin:-margin, margin:-margin].sum() / max(int(shape.sum()), 1))


def _least_visible(shapes: Sequence[NDArray[np.bool_]]) -> float:
    """Smallest visible share of any object; later objects lie in front."""
    least, front = 1.0, np.zeros_like(shapes[0])
    for shape in reversed(shapes):
        least = min(least, 1.0 - float((shape & front).sum() / max(int(shape.sum()), 1)))
        front = front | shape
    return least


def lay_out(items: Sequence[PlacedObject], extent: tuple[float, float], rng: np.random.Generator) -> list[PlacedObject]:
    """Pose every object within ``extent`` (height, width in scene units, shorter side 1).

    At least 75 % of an object is inside the frame and at least 60 % of it is not hidden by later ones.
    """
    overlap = bool(rng.random() < OVERLAP_SHARE)
    crop = bool(rng.random() < CROP_SHARE)
    items = [replace(item, mirrored=bool(rng.random() < 0.5)) for item in items]
    placed: list[PlacedObject] = []
    shapes: list[NDArray[np.bool_]] = []
    shrink = 1.0
    while len(placed) < len(items):
        for _ in range(_TRIES):
            pose = _draw_pose(items[len(placed)], len(items), shrink, crop, extent, rng)
            shape = _silhouette(pose, extent)
            needed = MIN_VISIBLE + 0.08 if overlap else 0.995
            if _inside(shape) >= MIN_INSIDE + 0.04 and _least_visible([*shapes, shape]) >= needed:
                placed.append(pose)
                shapes.append(shape)
                break
        else:
            placed, shapes, shrink = [], [], shrink * 0.93
    return placed
