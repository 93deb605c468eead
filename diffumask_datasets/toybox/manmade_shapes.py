"""Made things: car, boat, house, balloon, star, cup. Each function draws one object with a pen.

Local coordinates: x right, y down, roughly within [-1, 1]; the scene normalises size and position afterwards.
"""

from __future__ import annotations

import numpy as np

from diffumask_datasets.toybox.drawing import Palette, Pen, ellipse_points, mix
from diffumask_datasets.toybox.world import Rgb


def _wheel(pen: Pen, tones: Palette, x: float, y: float, radius: float) -> None:
    pen.ellipse(x, y, radius, radius, tones.ink)
    pen.ellipse(x, y, radius * 0.52, radius * 0.52, (198, 198, 204), outlined=False)
    pen.ellipse(x, y, radius * 0.18, radius * 0.18, (92, 92, 98), outlined=False)


def _window(pen: Pen, tones: Palette, corners: list[tuple[float, float]]) -> None:
    pen.polygon(corners, tones.glass, outlined=False)
    (x0, y0), (x1, y1) = corners[0], corners[1]
    shine = [(x0, y0), (x0 + 0.4 * (x1 - x0), y0 + 0.4 * (y1 - y0)), corners[-1]]
    pen.polygon(shine, mix(tones.glass, (255, 255, 255), 0.6), outlined=False)


def draw_car(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A car from the side, facing right: saloon, estate or pick-up."""
    style = rng.integers(3)
    roof = rng.uniform(-0.56, -0.46)
    belt = rng.uniform(-0.10, -0.04)
    floor = 0.36
    rear_top = {0: -0.42, 1: -0.86, 2: -0.18}[int(style)]
    rear_foot = {0: -0.70, 1: -0.94, 2: -0.24}[int(style)]
    front_top, front_foot = rng.uniform(0.18, 0.30), rng.uniform(0.50, 0.60)
    cabin = [(rear_foot, belt + 0.04), (rear_top, roof), (front_top, roof), (front_foot, belt + 0.04)]
    pen.polygon(cabin, tones.main)
    nose = belt + rng.uniform(0.02, 0.12)
    body = [
        (-1.0, belt + 0.06),
        (-0.95, belt),
        (front_foot, belt),
        (0.90, nose),
        (1.0, nose + 0.10),
        (1.0, floor),
        (-1.0, floor),
    ]
    pen.polygon(body, tones.main)
    pen.box(-1.0, floor - 0.13, 1.0, floor, tones.dark, outlined=False)
    middle = (rear_top + front_top) / 2 - 0.02
    sill = belt - 0.01
    _window(
        pen,
        tones,
        [(rear_top + 0.05, roof + 0.08), (middle - 0.03, roof + 0.08), (middle - 0.03, sill), (rear_foot + 0.12, sill)],
    )
    _window(
        pen,
        tones,
        [
            (middle + 0.04, roof + 0.08),
            (front_top - 0.03, roof + 0.08),
            (front_foot - 0.10, sill),
            (middle + 0.04, sill),
        ],
    )
    pen.box(middle - 0.02, belt + 0.10, middle + 0.10, belt + 0.14, tones.ink, outlined=False)
    pen.ellipse(0.93, nose + 0.14, 0.06, 0.07, (255, 246, 180), outlined=False)
    pen.box(-1.0, belt + 0.08, -0.93, belt + 0.20, (170, 20, 30), outlined=False)
    radius = rng.uniform(0.22, 0.27)
    _wheel(pen, tones, -0.58, floor, radius)
    _wheel(pen, tones, 0.58, floor, radius)


def draw_boat(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A sailing boat or a small steamer; the hull carries the colour."""
    top, keel = 0.36, rng.uniform(0.80, 0.92)
    hull = [(-0.98, top), (0.98, top), (0.86, top + 0.18), (0.62, keel), (-0.58, keel), (-0.80, top + 0.26)]
    if rng.random() < 0.6:
        mast = rng.uniform(-0.14, 0.06)
        pen.box(mast - 0.035, -1.0, mast + 0.035, top + 0.05, tones.bark)
        foot = top + 0.02
        pen.polygon([(mast + 0.07, -0.92), (rng.uniform(0.74, 0.92), foot), (mast + 0.07, foot)], tones.light)
        pen.polygon([(mast - 0.07, -0.72), (mast - 0.07, foot), (rng.uniform(-0.84, -0.66), foot)], tones.paper)
        pen.polygon([(mast + 0.03, -1.0), (mast + 0.28, -0.93), (mast + 0.03, -0.86)], tones.main, outlined=False)
    else:
        pen.box(-0.12, -0.62, 0.16, 0.0, tones.main)
        pen.box(-0.12, -0.48, 0.16, -0.36, tones.paper, outlined=False)
        pen.box(-0.56, -0.10, 0.58, top + 0.02, tones.paper)
        for x in (-0.36, 0.02, 0.40):
            pen.ellipse(x, 0.13, 0.10, 0.10, tones.glass)
    pen.polygon(hull, tones.main)
    pen.polygon([(-0.98, top), (0.98, top), (0.94, top + 0.10), (-0.95, top + 0.10)], tones.light, outlined=False)
    pen.polygon([(-0.70, keel - 0.16), (0.69, keel - 0.16), (0.62, keel), (-0.58, keel)], tones.dark, outlined=False)


def _house_front(pen: Pen, tones: Palette, rng: np.random.Generator, half: float, eaves: float) -> None:
    door = rng.uniform(-0.5, 0.1) * half
    pen.box(door, 0.38, door + 0.30, 0.92, tones.bark)
    pen.ellipse(door + 0.24, 0.66, 0.03, 0.03, (240, 214, 120), outlined=False)
    left, right = -half + 0.12, half - 0.42
    windows = [(right, 0.36)] if door < 0 else [(left, 0.36)]
    windows += [(left, eaves + 0.14), (right, eaves + 0.14)] if eaves < -0.2 else []
    for x, y in windows:
        pen.box(x, y, x + 0.30, y + 0.28, tones.glass)
        pen.box(x + 0.13, y, x + 0.17, y + 0.28, tones.paper, outlined=False)
        pen.box(x, y + 0.12, x + 0.30, y + 0.16, tones.paper, outlined=False)


def draw_house(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A house from the front: gabled, broad or of two storeys; the walls carry the colour."""
    style = rng.integers(3)
    half = (rng.uniform(0.66, 0.76), rng.uniform(0.80, 0.88), rng.uniform(0.56, 0.64))[int(style)]
    eaves = (-0.02, 0.02, -0.40)[int(style)]
    ridge = (-0.92, -0.62, -0.98)[int(style)]
    roof = mix(tones.dark, ((112, 52, 40), (70, 66, 80))[int(rng.integers(2))], 0.75)
    chimney = rng.uniform(0.28, 0.40)
    pen.box(chimney, ridge + 0.06, chimney + 0.20, eaves, (142, 84, 66))
    pen.box(-half, eaves, half, 0.92, tones.main)
    pen.box(-half, 0.80, half, 0.92, tones.dark, outlined=False)
    over = half + 0.16
    if style == 1:
        pen.polygon([(-over, eaves + 0.05), (-half + 0.16, ridge), (half - 0.16, ridge), (over, eaves + 0.05)], roof)
    else:
        pen.polygon([(-over, eaves + 0.05), (0.0, ridge), (over, eaves + 0.05)], roof)
        pen.ellipse(0.0, (eaves + ridge) / 2 + 0.14, 0.11, 0.11, tones.glass)
    _house_front(pen, tones, rng, half, eaves)


def draw_balloon(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A party balloon on a string, or a hot-air balloon with its basket."""
    if rng.random() < 0.55:
        width, height = rng.uniform(0.54, 0.62), rng.uniform(0.66, 0.72)
        wave = rng.uniform(0.04, 0.10) * rng.choice([-1, 1])
        y = np.linspace(0.44, 1.06, 9)
        pen.stroke(np.stack([wave * np.sin((y - 0.44) * 9), y], axis=1), 0.05, tones.ink)
        pen.polygon([(-0.11, 0.52), (0.11, 0.52), (0.0, 0.34)], tones.dark)
        pen.blob(
            [
                (0.0, 0.42),
                (-0.62 * width, 0.10),
                (-width, -0.34),
                (-0.62 * width, -0.82),
                (0.0, -0.30 - height),
                (0.62 * width, -0.82),
                (width, -0.34),
                (0.62 * width, 0.10),
            ],
            tones.main,
        )
        pen.ellipse(-0.42 * width, -0.62, 0.10, 0.20, tones.light, turn=0.5, outlined=False)
        return
    for x in (-0.16, 0.16):
        pen.stroke([(x * 1.5, 0.30), (x, 0.74)], 0.04, tones.ink)
    pen.box(-0.20, 0.70, 0.20, 1.0, tones.bark)
    pen.box(-0.20, 0.70, 0.20, 0.77, mix(tones.bark, (255, 255, 255), 0.35), outlined=False)
    envelope = [
        (-0.22, 0.46),
        (-0.62, 0.04),
        (-0.76, -0.38),
        (-0.50, -0.86),
        (0.0, -1.02),
        (0.50, -0.86),
        (0.76, -0.38),
        (0.62, 0.04),
        (0.22, 0.46),
    ]
    pen.blob(envelope, tones.main)
    stripe: Rgb = tones.paper if rng.random() < 0.35 else tones.light
    if min(tones.main) > 200:
        stripe = tones.dark
    for share in (-0.62, 0.0, 0.62):
        pen.blob(
            [(x * 0.19 + share * x_of, y) for (x, y), x_of in zip(envelope, _half_widths(envelope), strict=True)],
            stripe,
            outlined=False,
        )


def _half_widths(envelope: list[tuple[float, float]]) -> list[float]:
    return [abs(x) * 0.92 if abs(x) > 1e-6 else 0.0 for x, _ in envelope]


def draw_star(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A five-pointed star: slender with facets, or plump with a face."""
    plump = rng.random() < 0.45
    inner = rng.uniform(0.50, 0.58) if plump else rng.uniform(0.38, 0.46)
    angle = -np.pi / 2 + np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    pen.polygon(points, tones.main)
    if plump:
        for x in (-0.18, 0.18):
            pen.ellipse(x, -0.10, 0.07, 0.11, tones.ink, outlined=False)
        pen.stroke(ellipse_points(0.0, 0.08, 0.22, 0.18, start=0.35, end=np.pi - 0.35, count=9), 0.06, tones.ink)
        return
    for tip in range(0, 10, 2):
        pen.polygon([(0.0, 0.0), tuple(points[tip]), tuple(points[tip + 1])], tones.dark, outlined=False)


def draw_cup(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A mug with a handle, or a tea cup on a saucer."""
    top = -0.62
    drink: Rgb = ((84, 50, 32), (150, 92, 40))[int(rng.integers(2))]
    if rng.random() < 0.6:
        foot, half, taper = rng.uniform(0.58, 0.82), rng.uniform(0.56, 0.64), rng.uniform(0.0, 0.10)
        handle = ellipse_points(half - 0.04, -0.02, 0.40, 0.38, start=-1.4, end=1.4, count=14)
        pen.stroke(handle, 0.17, tones.main, outlined=True)
        bottom = ellipse_points(0.0, foot, half - taper, 0.16, start=0.0, end=np.pi, count=14)
        pen.polygon(np.concatenate([[(-half, top), (half, top)], bottom]), tones.main)
        if rng.random() < 0.5:
            pen.box(-half + 0.02, 0.05, half - 0.04, 0.24, tones.light, outlined=False)
    else:
        half = rng.uniform(0.70, 0.78)
        pen.ellipse(0.0, 0.46, 1.0, 0.20, tones.light)
        pen.ellipse(0.0, 0.44, 0.62, 0.11, tones.dark, outlined=False)
        handle = ellipse_points(half - 0.10, -0.26, 0.32, 0.25, start=-1.5, end=1.3, count=14)
        pen.stroke(handle, 0.13, tones.main, outlined=True)
        bowl = ellipse_points(0.0, top, half, 1.08, start=0.0, end=np.pi, count=22)
        pen.polygon(bowl, tones.main)
    pen.ellipse(0.0, top, half, 0.18, tones.dark)
    pen.ellipse(0.0, top + 0.025, half * 0.86, 0.13, drink, outlined=False)
