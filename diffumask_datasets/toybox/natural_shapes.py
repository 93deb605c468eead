"""Grown things: tree, fish, mushroom, flower. Same conventions as ``shapes_made``."""

from __future__ import annotations

import numpy as np

from diffumask_datasets.toybox.drawing import Palette, Pen, ellipse_points


def draw_tree(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A round leafy tree or a fir; the foliage carries the colour, the trunk is brown."""
    trunk = rng.uniform(0.10, 0.15)
    pen.polygon([(-trunk, 0.2), (trunk, 0.2), (trunk * 1.5, 1.0), (-trunk * 1.5, 1.0)], tones.bark)
    if rng.random() < 0.6:
        _leafy_crown(pen, tones, rng)
    else:
        _fir_crown(pen, tones, rng)


def _leafy_crown(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    lumps = int(rng.integers(7, 10))
    wide, high = rng.uniform(0.68, 0.84), rng.uniform(0.62, 0.72)
    angle = rng.uniform(0, 6) + np.arange(lumps * 2) * np.pi / lumps
    radius = np.where(np.arange(lumps * 2) % 2 == 0, 1.0, 0.84)
    corners = [(wide * r * np.cos(a), -0.32 + high * r * np.sin(a)) for a, r in zip(angle, radius, strict=True)]
    pen.blob(corners, tones.main)
    for _ in range(5):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
        tone = tones.light if np.sin(a) < 0 else tones.dark
        pen.ellipse(wide * r * np.cos(a), -0.32 + high * r * np.sin(a), 0.15, 0.09, tone, turn=0.3, outlined=False)


def _fir_crown(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    half = rng.uniform(0.60, 0.72)
    for index, (top, foot) in enumerate([(-0.25, 0.62), (-0.65, 0.16), (-1.0, -0.28)]):
        width = half * (1.0 - 0.22 * index)
        pen.polygon(
            [
                (0.0, top),
                (width, foot),
                (width * 0.5, foot - 0.06),
                (0.0, foot + 0.03),
                (-width * 0.5, foot - 0.06),
                (-width, foot),
            ],
            tones.main,
        )
        pen.polygon([(0.0, top), (width, foot), (width * 0.5, foot - 0.06)], tones.dark, outlined=False)


def draw_fish(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A fish facing right: slim or tall, with a forked tail, fins, eye and mouth."""
    tall = rng.uniform(0.50, 0.60) if rng.random() < 0.5 else rng.uniform(0.38, 0.46)
    spread = rng.uniform(0.50, 0.62)
    pen.polygon([(-0.42, 0.0), (-1.0, -spread), (-0.84, 0.0), (-1.0, spread)], tones.dark)
    fin = tall + rng.uniform(0.20, 0.32)
    pen.polygon([(-0.30, -tall * 0.7), (-0.16, -fin), (0.14, -fin * 0.92), (0.44, -tall * 0.72)], tones.dark)
    pen.polygon([(-0.12, tall * 0.75), (-0.20, fin * 0.95), (0.22, tall * 0.8)], tones.dark)
    body = [
        (-0.58, -0.02),
        (-0.30, -tall * 0.62),
        (0.14, -tall),
        (0.62, -tall * 0.70),
        (0.98, 0.02),
        (0.62, tall * 0.74),
        (0.14, tall),
        (-0.30, tall * 0.62),
    ]
    pen.blob(body, tones.main)
    if rng.random() < 0.5:
        for x in (-0.22, 0.08):
            half = tall * (0.62 if x < 0 else 0.86)
            pen.blob(
                [(x - 0.06, -half), (x + 0.06, -half), (x + 0.12, 0.0), (x + 0.06, half), (x - 0.06, half), (x, 0.0)],
                tones.paper,
                outlined=False,
            )
    else:
        pen.ellipse(0.12, tall * 0.62, 0.44, tall * 0.24, tones.light, outlined=False)
    pen.stroke(ellipse_points(0.26, 0.0, 0.16, tall * 0.62, start=-1.1, end=1.1, count=9), 0.05, tones.dark)
    pen.polygon([(0.10, 0.08), (-0.20, 0.26), (-0.14, 0.02)], tones.light)
    pen.ellipse(0.62, -tall * 0.26, 0.15, 0.15, tones.paper)
    pen.ellipse(0.65, -tall * 0.26, 0.075, 0.075, tones.ink, outlined=False)
    pen.stroke([(0.97, 0.07), (0.84, 0.14), (0.72, 0.13)], 0.06, tones.ink)


def draw_mushroom(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A toadstool: domed or flat cap in the colour, pale spots, a thick cream stem."""
    foot, neck = rng.uniform(0.30, 0.38), rng.uniform(0.20, 0.26)
    dome = rng.uniform(0.86, 0.98) if rng.random() < 0.6 else rng.uniform(0.58, 0.68)
    rim = 0.12
    pen.blob(
        [(-neck, rim - 0.2), (neck, rim - 0.2), (neck, 0.5), (foot, 0.90), (0.0, 1.0), (-foot, 0.90), (-neck, 0.5)],
        tones.cream,
    )
    pen.ellipse(0.0, rim + 0.02, 0.84, 0.16, (226, 206, 176))
    arch = ellipse_points(0.0, rim, 0.94, dome, start=np.pi, end=2 * np.pi, count=24)
    lip = ellipse_points(0.0, rim, 0.94, 0.14, start=0.0, end=np.pi, count=14)
    pen.polygon(np.concatenate([arch, lip]), tones.main)
    spot = tones.paper if min(tones.main) < 200 else tones.dark
    spots = [(-0.50, 0.30), (0.02, 0.66), (0.50, 0.32), (-0.10, 0.18), (0.28, 0.02)]
    for x, height in spots[: int(rng.integers(3, 6))]:
        size = rng.uniform(0.10, 0.15)
        pen.ellipse(x, rim - height * dome, size, size * 0.8, spot, outlined=False)


def draw_flower(pen: Pen, tones: Palette, rng: np.random.Generator) -> None:
    """A daisy, a round-petalled blossom or a tulip on a leafy stem."""
    style = rng.choice(3, p=[0.4, 0.4, 0.2])
    pen.stroke([(0.0, -0.2), (rng.uniform(-0.05, 0.05), 0.4), (0.0, 1.0)], 0.10, tones.leaf, outlined=True)
    for side in (-1.0, 1.0):
        y = rng.uniform(0.66, 0.82)
        pen.blob(
            [(0.0, y + 0.1), (side * 0.26, y - 0.18), (side * 0.52, y - 0.24), (side * 0.36, y + 0.02)], tones.leaf
        )
    if style == 2:
        _tulip(pen, tones)
        return
    petals = int(rng.integers(9, 12)) if style == 0 else int(rng.integers(5, 7))
    slim, reach = (0.14, 0.40) if style == 0 else (0.26, 0.36)
    turn = rng.uniform(0, 2 * np.pi)
    for index in range(petals):
        a = turn + index * 2 * np.pi / petals
        tone = tones.main if index % 2 else tones.light if style == 0 else tones.main
        pen.ellipse(reach * np.cos(a), -0.36 + reach * np.sin(a), 0.26, slim, tone, turn=a)
    yellowish = tones.main[0] > 200 and tones.main[1] > 120 and tones.main[2] < 120
    pen.ellipse(0.0, -0.36, 0.20, 0.20, (126, 76, 36) if yellowish else (248, 206, 60))


def _tulip(pen: Pen, tones: Palette) -> None:
    pen.blob(
        [
            (0.0, 0.14),
            (-0.40, 0.0),
            (-0.50, -0.46),
            (-0.46, -0.92),
            (-0.20, -0.62),
            (0.0, -0.98),
            (0.20, -0.62),
            (0.46, -0.92),
            (0.50, -0.46),
            (0.40, 0.0),
        ],
        tones.main,
    )
    pen.blob([(0.0, 0.12), (-0.22, -0.30), (0.0, -0.86), (0.22, -0.30)], tones.light, outlined=False)
