"""Class name → drawing function, and one call that draws a fresh object as normalised parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from diffumask_datasets.toybox.drawing import Palette, Part, Pen, make_palette, normalised
from diffumask_datasets.toybox.manmade_shapes import draw_balloon, draw_boat, draw_car, draw_cup, draw_house, draw_star
from diffumask_datasets.toybox.natural_shapes import draw_fish, draw_flower, draw_mushroom, draw_tree
from diffumask_datasets.toybox.world import COLOURS

DRAW: Final[dict[str, Callable[[Pen, Palette, np.random.Generator], None]]] = {
    "car": draw_car,
    "boat": draw_boat,
    "tree": draw_tree,
    "house": draw_house,
    "fish": draw_fish,
    "balloon": draw_balloon,
    "mushroom": draw_mushroom,
    "star": draw_star,
    "cup": draw_cup,
    "flower": draw_flower,
}


def draw_object(class_name: str, colour: str, rng: np.random.Generator) -> tuple[list[Part], Palette]:
    """Parts of a fresh object within [-1, 1] (longer side exactly 2) and the palette it was drawn with."""
    pen, tones = Pen(), make_palette(COLOURS[colour], rng)
    DRAW[class_name](pen, tones, rng)
    return normalised(pen.parts), tones
