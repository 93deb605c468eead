"""From classes to text: articles, sub-classes, and the character span of each class term."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipes.captions import Words, mentions
from diffumask_datasets.recipes.prompt_settings import PLACE
from diffumask_datasets.recipes.vocabulary import ClassWords

__all__ = ["Noun", "fill", "find_terms", "noun"]

_SPELT = re.compile(r"[A-Z]{2,}\b|\w-")
_VOWEL_LETTERS = "aefhilmnorsx8"
_SAID_WITH_A_CONSONANT = re.compile(r"(one|once|ewe)\b|uni[cfoqstv]|us[aeu]|ut[eio]|ur[aeio]|uk|eu", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|heir|hono", re.IGNORECASE)

Noun = tuple[str, tuple[Term, ...]]
"""A noun phrase with its article, and where the class terms stand in it."""


def fill(template: str, nouns: Sequence[Noun], *, context: str = "") -> Prompt:
    """Fills a template.

    Args:
        template: The template.
        nouns: What goes into its place, joined by "and".
        context: What follows.

    Returns:
        The prompt.
    """
    before, after = template.split(PLACE, 1)
    text, terms = before, []
    for position, (phrase, spans) in enumerate(nouns):
        text += " and " if position else ""
        terms += [Term(span.category, len(text) + span.start, len(text) + span.end) for span in spans]
        text += phrase
    return Prompt(text + after + (f" {context}" if context else ""), tuple(terms))


def noun(words: ClassWords, *, term: str | None = None, sub_class: str = "") -> Noun:
    """Names a class: "a car" or "a rusty car".

    Args:
        words: The class.
        term: The term; default: the usual one.
        sub_class: Stands before the term, or alone where it names the class itself.

    Returns:
        The noun, and where the term stands in it.
    """
    term = term or words.terms[0]
    named = mentions(sub_class, tuple((word, words.name) for word in words.words)) if sub_class else []
    phrase = sub_class if named else f"{sub_class} {term}".strip()
    spans = [(start, end) for _, start, end in named] or [(len(phrase) - len(term), len(phrase))]
    article = "" if words.mass else _article(phrase) + " "
    return article + phrase, tuple(Term(words.name, len(article) + start, len(article) + end) for start, end in spans)


def find_terms(text: str, words: Words) -> tuple[Term, ...]:
    """Every mention of a class in a text, in reading order; ``words`` are (word, class) pairs."""
    return tuple(Term(*found) for found in mentions(text, words))


def _article(phrase: str) -> str:
    first = phrase[0].lower()
    if _SPELT.match(phrase):
        return "an" if first in _VOWEL_LETTERS else "a"
    vowel = first in "aeiou8" and not _SAID_WITH_A_CONSONANT.match(phrase)
    return "an" if vowel or _SILENT_H.match(phrase) else "a"
