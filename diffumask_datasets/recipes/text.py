"""One normal form for every text that a user hands in, and one way to compare spellings of a word."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["JOINT", "Folded", "fold", "normalise", "word_key"]

_APOSTROPHES = "\u00b4\u02bc\u2018\u2019\u201b\u2032\uff07"
_HYPHENS = "\u2010\u2011\u2012\u2212\ufe63\uff0d"
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, byte-order mark
_PLAIN = str.maketrans(
    {**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_HYPHENS, "-"), **dict.fromkeys(_INVISIBLE)}
)

JOINT = rf"[\s_–{_HYPHENS}-][\s_–{_HYPHENS}{_INVISIBLE}-]*"
"""Pattern of what joins the parts of a word: "ice cream", "ice-cream" and "ice_cream" are one word."""

_ACCENTS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
_WORD = "[!-,.-^`-~]+"  # ASCII without joints
_CHUNK = re.compile(
    rf"(?P<plain>{_WORD}(?:[ _-]{_WORD})*(?![{_ACCENTS}]))|(?P<joint>{JOINT})|(?s:.)[{_ACCENTS}]*",
)
"""Words that need no more than small letters, in one piece; a joint; or one character with the accents after it."""

_BLANKS = str.maketrans("-_", "  ")


def normalise(text: str) -> str:
    """The text as it is stored, hashed and given to a model.

    Accents are composed (NFC), apostrophes and hyphens are those of a keyboard, runs of white space are one blank, and
    there is none at the ends; zero-width characters and soft hyphens are dropped.
    """
    # Twice: some characters become an apostrophe only when composed, and dropping one can bring a letter to its accent.
    composed = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).translate(_PLAIN))
    return " ".join(composed.split())


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in the form in which spellings are compared.

    Character ``i`` of ``text`` comes from the characters ``starts[i]`` to ``ends[i]`` of the original.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that ``text[start:end]`` comes from."""
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> Folded:
    """The text in lower case, with a blank for every joint and without what typography adds, normalised or not."""
    letters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for chunk in _CHUNK.finditer(text):
        start, end = chunk.span()
        if chunk["plain"]:
            letters.append(chunk[0].lower().translate(_BLANKS))
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            folded = " " if chunk["joint"] else _folded(chunk[0])
            letters.append(folded)
            starts.extend([start] * len(folded))
            ends.extend([end] * len(folded))
    return Folded("".join(letters), tuple(starts), tuple(ends))


def word_key(word: str) -> str:
    """What all spellings of a word have in common: case, hyphens, underscores and blanks, accents and apostrophes."""
    return fold(word).text.strip()


def _folded(character: str) -> str:
    return unicodedata.normalize("NFKC", character.translate(_PLAIN)).lower()
