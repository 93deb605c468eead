"""From class terms to the noun phrases around them: "a rusty red car" is painted by all of its words."""

from __future__ import annotations

import re
from typing import Final

from diffumask_datasets.prompts.prompt import Prompt, Term

__all__ = ["MAX_MODIFIERS", "attended", "with_phrases"]

MAX_MODIFIERS: Final = 3
"""Words before a term that may belong to it: further back, captions speak of something else."""

_LAST_WORD = re.compile(r"([^\W_][\w'-]*)\s+\Z")

_FUNCTION_WORDS: Final = (
    "a an the this that these those some any each every no my your his her its our their "
    "one two three four five six seven eight nine ten many several few "
    "and or but nor of in on at by to from with without for as into onto over under above below behind beside near "
    "between through across around inside outside against along toward towards "
    "is are was were be being been has have had do does did can will "
    "who which while where when there here it they he she we"
)
_ENDS: Final = frozenset(_FUNCTION_WORDS.split())
"""Words that no noun phrase has between its article and its noun."""


def attended(prompt: Prompt, words: str) -> Prompt:
    """The prompt with the spans that a recipe's ``attention_words`` ask for: ``"class"`` or ``"phrase"``."""
    return with_phrases(prompt) if words == "phrase" else prompt


def with_phrases(prompt: Prompt) -> Prompt:
    """The prompt with each term's span widened to the modifiers before it: in "a red car", from "red" on.

    A modifier is any word that is no article, number, preposition, conjunction or auxiliary and belongs to no other term;
    at most :data:`MAX_MODIFIERS` of them, without punctuation between.
    """
    taken = [(term.start, term.end) for term in prompt.terms]
    widened = (Term(term.category, _phrase_start(prompt.text, term.start, taken), term.end) for term in prompt.terms)
    return Prompt(prompt.text, tuple(widened))


def _phrase_start(text: str, start: int, taken: list[tuple[int, int]]) -> int:
    for _ in range(MAX_MODIFIERS):
        word = _LAST_WORD.search(text, 0, start)
        if word is None or word[1].lower() in _ENDS or any(a < word.end(1) and word.start(1) < b for a, b in taken):
            break
        start = word.start(1)
    return start
