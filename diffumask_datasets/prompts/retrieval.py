"""Retrieval of captions: the paper's filters, then the captions nearest to each class."""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.prompt_settings import PLACE, RetrievalPrompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.text import JOINT, word_key
from diffumask_datasets.recipes.vocabulary import ClassWords

__all__ = ["Mentions", "count_refusals", "refusal", "retrieve"]

Mentions = Sequence[tuple[str, int, int]]
"""(class, start, end) of every mention of a class in a caption, in characters."""

Scores = Mapping[str, npt.NDArray[np.float32]]
"""Class → how near each text is to it."""

_QUERY = f"a photo of {PLACE}"


def retrieve(captions: Mapping[str, Mentions], recipe: Recipe, settings: RetrievalPrompts) -> dict[str, list[str]]:
    """Retrieves captions of each class.

    BM25 is asked for all that is known of a class: its words, sub-classes and contexts. Text embeddings are asked for "a
    photo of a …" with each of its terms, the nearest of which counts.

    Args:
        captions: Caption → the classes that it names.
        recipe: Names the classes.
        settings: Filters, encoder and number.

    Returns:
        Class → its best ``per_class`` captions, best first.
    """
    candidates: dict[str, list[str]] = {name: [] for name in recipe.classes}
    for text, found in captions.items():
        for name in dict.fromkeys(category for category, _, _ in found):
            if refusal(text, found, recipe.words_of(name), settings) is None:
                candidates[name].append(text)
    texts = list(dict.fromkeys(text for chosen in candidates.values() for text in chosen))
    if not texts:
        return candidates
    wanted = [recipe.words_of(name) for name, chosen in candidates.items() if chosen]
    scores = _embedding_scores(texts, wanted, settings) if settings.encoder else _bm25_scores(texts, wanted)
    place = {text: number for number, text in enumerate(texts)}

    def best(name: str) -> list[str]:
        ordered = sorted(candidates[name], key=lambda text: (-scores[name][place[text]], text))
        return ordered[: settings.per_class]

    return {name: best(name) for name in recipe.classes}


def refusal(text: str, found: Mentions, words: ClassWords, settings: RetrievalPrompts) -> str | None:
    """Says which filter keeps a caption from being one of a class.

    Args:
        text: The caption.
        found: Where it names classes.
        words: The class.
        settings: The filters.

    Returns:
        ``max_words``, ``first_words`` or ``stop_words``; None where it passes.
    """
    parts = text.split()
    if len(parts) > settings.max_words:
        return "max_words"
    start = len(" ".join(parts[: settings.first_words]))
    if not any(category == words.name and end <= start for category, _, end in found):
        return "first_words"
    stop = _stop_pattern(settings.stop_words, words.words)
    return "stop_words" if stop and stop.search(text) else None


def count_refusals(captions: Mapping[str, Mentions], words: ClassWords, settings: RetrievalPrompts) -> dict[str, int]:
    """Counts why captions are not taken.

    Args:
        captions: Caption → the classes that it names.
        words: The class.
        settings: The filters.

    Returns:
        Filter → how many of the captions that name the class it refuses.
    """
    naming = {text: found for text, found in captions.items() if words.name in [category for category, _, _ in found]}
    return Counter(filter(None, (refusal(text, found, words, settings) for text, found in naming.items())))


@functools.lru_cache(maxsize=256)
def _stop_pattern(stop_words: tuple[str, ...], own: tuple[str, ...]) -> re.Pattern[str] | None:
    # A poster, a toy or a statue may be what is asked for.
    meant = {part for word in map(word_key, own) for part in (word, *word.split())}
    refused = [key.split() for key in map(word_key, stop_words) if key not in meant]
    alternatives = "|".join(JOINT.join(map(re.escape, parts)) for parts in refused)
    return re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE) if alternatives else None


def _bm25_scores(texts: Sequence[str], wanted: Sequence[ClassWords]) -> Scores:
    import bm25s

    # It would write of its index to the user's terminal.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)
    queries = [" ".join([*words.words, *words.sub_classes, *words.contexts]) for words in wanted]
    tokens = bm25s.tokenize(queries, stopwords="en", return_ids=False, show_progress=False)
    known = [[token for token in query if token in index.vocab_dict] for query in tokens]
    nothing = np.zeros(len(texts), np.float32)
    return {
        words.name: index.get_scores(query) if query else nothing for words, query in zip(wanted, known, strict=True)
    }


def _embedding_scores(texts: Sequence[str], wanted: Sequence[ClassWords], settings: RetrievalPrompts) -> Scores:
    from diffumask_datasets.prompts.text_models import embed

    assert settings.encoder is not None
    queries = [(words.name, fill(_QUERY, [noun(words, term=term)]).text) for words in wanted for term in words.terms]
    vectors = embed([*(query for _, query in queries), *texts], settings.encoder, settings.encoder_revision)
    nearness = vectors[: len(queries)] @ vectors[len(queries) :].T  # (queries, texts)
    rows = {words.name: [row for row, (name, _) in enumerate(queries) if name == words.name] for words in wanted}
    return {name: nearness[numbers].max(axis=0) for name, numbers in rows.items()}
