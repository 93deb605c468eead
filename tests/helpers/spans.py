"""Whether a tokenizer finds the class terms of a prompt: shared by the tests and the benchmark."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import DEFAULT_PROMPTS
from diffumask_datasets.recipes.vocabulary import VOCABULARIES, load_vocabulary, styles

TEMPLATES = (*DEFAULT_PROMPTS, *styles())


def known_words() -> tuple[str, ...]:
    """Half of the words that may occur: the other half is split into letters, as rare words are."""
    texts = [
        *TEMPLATES,
        *(term for name in VOCABULARIES for entry in load_vocabulary(name).classes for term in entry.words.terms),
    ]
    words = sorted({word.lower() for text in texts for word in text.replace("{classes}", "").split() if word.isalpha()})
    return tuple(words[::2])


def missed(prompt: Prompt, tokenizer: Any) -> list[str]:
    """The terms whose tokens do not spell them."""
    offsets = tokenizer(prompt.text, return_offsets_mapping=True)["offset_mapping"]
    wrong = []
    for category, tokens in align_terms(prompt, tokenizer).items():
        spelt = {place for token in tokens for place in range(*offsets[token])}
        wanted = {place for term in prompt.terms if term.category == category for place in range(term.start, term.end)}
        letters = {place for place in spelt ^ wanted if not prompt.text[place].isspace()}
        wrong += [category] * bool(letters)
    return wrong
