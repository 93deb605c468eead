"""The words of the drawn world: classes, colours, backgrounds, splits. Plain data, no drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Rgb = tuple[float, float, float]

CLASS_NAMES: Final = ("car", "boat", "tree", "house", "fish", "balloon", "mushroom", "star", "cup", "flower")
"""Class names in class-id order: class id = index + 1, 0 is background."""

COLOURS: Final[dict[str, Rgb]] = {
    "red": (214, 36, 38),
    "orange": (246, 132, 24),
    "yellow": (250, 214, 44),
    "green": (48, 172, 62),
    "blue": (36, 88, 218),
    "purple": (136, 54, 182),
    "pink": (248, 142, 190),
    "white": (244, 244, 242),
}
"""Colour name to RGB in [0, 255]; a drawn object varies a little around it."""

BACKGROUNDS: Final = ("grass", "sand", "sea", "snow", "night", "sunset", "bricks", "wood")

SPLITS: Final = ("train", "validation", "test")
"""Splits whose random streams are disjoint by construction (the split's index seeds the generator)."""

MAX_OBJECTS: Final = 3


RECIPE_DEFAULTS: Final[Mapping[str, Any]] = {
    "height": 128,
    "width": 128,
    "num_inference_steps": 8,
    "guidance_scale": 3.5,
    "attention_grids": (16,),
    "attention_layers": ("up_blocks.2.attentions.*",),
    "attention_timesteps": (50, 450),
    "attention_words": "phrase",
    "competition": 16.0,
    "affinity": "self-attention",
    "affinity_power": 1,
}
"""The fields of a recipe that suit the shipped model, found by ``diffumask tune-attention``."""


def class_id(name: str) -> int:
    """Class id of ``name`` in 1..10; raises ``ValueError`` for a name that the world does not know."""
    return CLASS_NAMES.index(name) + 1
