"""The words of the drawn world's captions."""

from __future__ import annotations

from diffumask_datasets.toybox.captions import NUMBERS, PLACES, PLURALS, PREFIXES, RELATIONS, SIDES
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS


def caption_words() -> tuple[str, ...]:
    """Every word a caption may hold, sorted."""
    phrases = [
        *PREFIXES,
        *SIDES,
        *RELATIONS,
        *COLOURS,
        *CLASS_NAMES,
        *PLURALS.values(),
        *NUMBERS.values(),
        *BACKGROUNDS,
        "a an and , .",
    ]
    phrases += [phrase for choices in PLACES.values() for phrase in choices]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))
