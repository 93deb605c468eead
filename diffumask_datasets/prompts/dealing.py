"""How texts are dealt to the splits, so that train, validation and test share no prompt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["deal", "share_of"]

_FIRST = ("train", "validation", "test", *("train",) * 7)
"""Of ten texts eight are for training; the first three serve each split, so that three are enough for all."""

_SHARES = (*("train",) * 8, "validation", "test")


def share_of(text: str) -> str:
    """The split that a text of an open set belongs to: 8 of 10 to train, 1 each to validation and test."""
    return _SHARES[int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % len(_SHARES)]


def deal(named: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The split of each text of a finite set, given the classes that it names.

    Texts are taken in the order of their hashes; each counts for the rarest of its classes, and every class deals its texts
    8:1:1, the first three to train, validation and test.
    """
    frequency = Counter(name for names in named.values() for name in set(names))
    dealt: Counter[str] = Counter()
    splits = {}
    for text in sorted(named, key=_order):
        home = min(named[text], key=lambda name: (frequency[name], name))
        splits[text] = _FIRST[dealt[home] % len(_FIRST)]
        dealt[home] += 1
    return splits


def _order(text: str) -> tuple[bytes, str]:
    return hashlib.sha256(text.encode()).digest(), text
