"""Honest captions of a scene, in several phrasings; any detail may be left out, none is invented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from diffumask_datasets.toybox.world import CLASS_NAMES

PREFIXES: Final = ("a photo of ", "", "a picture of ", "an image of ")
PREFIX_SHARES: Final = (0.6, 0.2, 0.1, 0.1)
PLACES: Final[dict[str, tuple[str, ...]]] = {
    "grass": ("on grass", "in the grass"),
    "sand": ("on sand", "on the beach"),
    "sea": ("at sea", "in the water"),
    "snow": ("in the snow", "on snow"),
    "night": ("at night", "in the dark"),
    "sunset": ("at sunset", "in front of a sunset"),
    "bricks": ("in front of bricks", "in front of a brick wall"),
    "wood": ("on wood", "on a wooden floor"),
}
"""Background to its phrases; the first is the usual one."""

PLURALS: Final = {
    name: name if name == "fish" else name + "es" if name.endswith("s") else name + "s" for name in CLASS_NAMES
}
NUMBERS: Final = {2: "two", 3: "three"}
SIDES: Final = ("on the left", "on the right", "at the top", "at the bottom")
RELATIONS: Final = ("to the left of", "to the right of", "above", "below")
SIDE_OFFSET: Final = 0.1
RELATION_OFFSET: Final = 0.2


@dataclass(frozen=True)
class Mention:
    """What a caption may say of one object; ``x`` and ``y`` are its centre in image fractions, 0 = left or top."""

    class_name: str
    colour: str
    x: float
    y: float


def with_article(words: str) -> str:
    """``words`` after "a" or "an"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _noun(mention: Mention, *, colour: bool) -> str:
    return with_article(f"{mention.colour} {mention.class_name}" if colour else mention.class_name)


def _side(mention: Mention) -> str | None:
    dx, dy = mention.x - 0.5, mention.y - 0.5
    if max(abs(dx), abs(dy)) < SIDE_OFFSET:
        return None
    if abs(dx) > abs(dy):
        return SIDES[0] if dx < 0 else SIDES[1]
    return SIDES[2] if dy < 0 else SIDES[3]


def _relation(first: Mention, second: Mention) -> str | None:
    dx, dy = first.x - second.x, first.y - second.y
    if max(abs(dx), abs(dy)) < RELATION_OFFSET:
        return None
    if abs(dx) > abs(dy):
        return RELATIONS[0] if dx < 0 else RELATIONS[1]
    return RELATIONS[2] if dy < 0 else RELATIONS[3]


def _joined(phrases: Sequence[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]]) if len(phrases) > 1 else phrases[0]


def _counted(mentions: Sequence[Mention], *, colour: bool) -> list[str]:
    """Same objects gathered: ["two red cups", "a star"]."""
    keys = Counter((mention.colour if colour else "", mention.class_name) for mention in mentions)
    phrases = []
    for (shade, name), count in keys.items():
        words = f"{shade} {name if count == 1 else PLURALS[name]}".strip()
        phrases.append(with_article(words) if count == 1 else f"{NUMBERS[count]} {words}")
    return phrases


def _subject(mentions: Sequence[Mention], rng: np.random.Generator) -> str:
    colour = bool(rng.random() < 0.6)
    order = [mentions[index] for index in rng.permutation(len(mentions))]
    if len(order) == 1:
        side = _side(order[0]) if rng.random() < 0.5 else None
        return " ".join(filter(None, [_noun(order[0], colour=colour), side]))
    if len(order) == 2:
        relation = _relation(order[0], order[1]) if rng.random() < 0.25 else None
        if relation and (order[0].class_name != order[1].class_name or (colour and order[0].colour != order[1].colour)):
            return f"{_noun(order[0], colour=colour)} {relation} {_noun(order[1], colour=colour)}"
        if rng.random() < 0.1 and order[0].class_name != order[1].class_name:
            return f"{_noun(order[0], colour=not colour)} and {_noun(order[1], colour=colour)}"
    return _joined(_counted(order, colour=colour))


def write_caption(mentions: Sequence[Mention], background: str, rng: np.random.Generator) -> str:
    """One caption of a scene of 1 to 3 objects: "a photo of a red car on grass", "two cups", ..."""
    prefix = PREFIXES[int(rng.choice(len(PREFIXES), p=PREFIX_SHARES))]
    caption = prefix + _subject(mentions, rng)
    if rng.random() < 0.5:
        phrases = PLACES[background]
        caption += " " + phrases[0 if rng.random() < 0.75 else 1]
    return caption
