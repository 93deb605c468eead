"""A pen that collects filled polygons in unit coordinates (x right, y down) before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffumask_datasets.toybox.world import Rgb

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One filled polygon: ``points`` (N, 2) as x, y; ``fill`` RGB in [0, 255]; ``outlined`` adds the dark contour."""

    points: Points
    fill: Rgb
    outlined: bool


@dataclass(frozen=True)
class Palette:
    """Tones of one object, all derived from its main colour except the neutral ones."""

    main: Rgb
    dark: Rgb
    light: Rgb
    outline: Rgb
    ink: Rgb = (38.0, 36.0, 42.0)
    glass: Rgb = (188.0, 222.0, 236.0)
    cream: Rgb = (244.0, 232.0, 208.0)
    bark: Rgb = (118.0, 80.0, 50.0)
    leaf: Rgb = (62.0, 134.0, 58.0)
    paper: Rgb = (250.0, 250.0, 248.0)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """``first`` moved by ``share`` in [0, 1] towards ``second``."""
    a, b = first, second
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def make_palette(colour: Rgb, rng: np.random.Generator) -> Palette:
    """Palette around ``colour``, jittered so that no two red objects are quite the same red."""
    jitter = rng.normal(0.0, 5.0, 3) + rng.normal(0.0, 5.0)
    r, g, b = np.clip(np.asarray(colour) + jitter, 0.0, 255.0)
    main: Rgb = (float(r), float(g), float(b))
    black: Rgb = (22.0, 20.0, 30.0)
    return Palette(
        main=main,
        dark=mix(main, black, 0.28),
        light=mix(main, (255.0, 255.0, 255.0), 0.42),
        outline=mix(main, black, 0.66),
    )


def ellipse_points(
    centre_x: float,
    centre_y: float,
    radius_x: float,
    radius_y: float,
    *,
    turn: float = 0.0,
    start: float = 0.0,
    end: float = 2 * np.pi,
    count: int = 28,
) -> Points:
    """Points (count, 2) on an ellipse arc from angle ``start`` to ``end`` (radians, clockwise as y points down)."""
    angle = np.linspace(start, end, count, endpoint=end - start < 2 * np.pi - 1e-6)
    x, y = radius_x * np.cos(angle), radius_y * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([centre_x + x * cos - y * sin, centre_y + x * sin + y * cos], axis=1)


def smooth_points(corners: Sequence[tuple[float, float]]) -> Points:
    """Closed Catmull-Rom curve through ``corners``, six points for each: (6 * len(corners), 2)."""
    p1 = np.asarray(corners, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0.0, 1.0, 6, endpoint=False)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, 2)  # (corners, 6, 2) -> (corners * 6, 2)


@dataclass
class Pen:
    """Collects parts in drawing order: later parts lie on top."""

    parts: list[Part] = field(default_factory=list)

    def polygon(self, points: Points | Sequence[tuple[float, float]], fill: Rgb, *, outlined: bool = True) -> None:
        """Add a closed polygon."""
        self.parts.append(Part(np.asarray(points, dtype=np.float64), fill, outlined))

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: Rgb, *, turn: float = 0.0, outlined: bool = True
    ) -> None:
        """Add a full ellipse with centre (x, y) and half axes (rx, ry), turned by ``turn`` radians."""
        self.polygon(ellipse_points(x, y, rx, ry, turn=turn), fill, outlined=outlined)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Rgb, *, outlined: bool = True) -> None:
        """Add an axis-aligned rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill, outlined=outlined)

    def blob(self, corners: Sequence[tuple[float, float]], fill: Rgb, *, outlined: bool = True) -> None:
        """Add a smooth closed curve through ``corners``."""
        self.polygon(smooth_points(corners), fill, outlined=outlined)

    def stroke(
        self, path: Sequence[tuple[float, float]] | Points, width: float, fill: Rgb, *, outlined: bool = False
    ) -> None:
        """Add a line of constant ``width`` along ``path``."""
        line = np.asarray(path, dtype=np.float64)
        along = np.gradient(line, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
        self.polygon(np.concatenate([line + across, (line - across)[::-1]]), fill, outlined=outlined)


def normalised(parts: Sequence[Part]) -> list[Part]:
    """Parts moved and scaled so that their common box is centred on 0 and its longer half side is 1."""
    everything = np.concatenate([part.points for part in parts])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = 2.0 / float((high - low).max())
    return [Part((part.points - (low + high) / 2) * scale, part.fill, part.outlined) for part in parts]
