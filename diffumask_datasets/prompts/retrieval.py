"""Retrieval of captions: the paper's filters, then the captions nearest to each class."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from diffumask_datasets.captions import mentions
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.settings import RetrievalPrompts
from diffumask_datasets.vocabulary import ClassWords

__all__ = ["retrieve", "usable"]


def retrieve(captions: Sequence[str], recipe: Recipe, settings: RetrievalPrompts) -> dict[str, list[str]]:
    """The best ``per_class`` captions of each class, best first.

    A class is asked for with all that is known of it: its words, sub-classes and contexts.
    """
    kept = [text for text in captions if usable(text, settings)]
    candidates = {
        name: [number for number, text in enumerate(kept) if _named_early(text, recipe.words_of(name), settings)]
        for name in recipe.classes
    }
    if not any(candidates.values()):
        return {name: [] for name in recipe.classes}
    queries = [_query(recipe.words_of(name), settings) for name in recipe.classes]
    scores = _embedding_scores(kept, queries, settings) if settings.encoder else _bm25_scores(kept, queries)
    chosen = {}
    for name, row in zip(recipe.classes, scores, strict=True):
        best = sorted(candidates[name], key=lambda number: (-row[number], kept[number]))
        chosen[name] = [kept[number] for number in best[: settings.per_class]]
    return chosen


def usable(text: str, settings: RetrievalPrompts) -> bool:
    """Whether a caption is short enough and describes a photo."""
    words = re.findall(r"[\w-]+", text.lower())
    return len(text.split()) <= settings.max_words and not set(words) & set(settings.stop_words)


def _named_early(text: str, words: ClassWords, settings: RetrievalPrompts) -> bool:
    start = " ".join(text.split()[: settings.first_words])
    return bool(mentions(start, tuple((word, words.name) for word in words.words)))


def _query(words: ClassWords, settings: RetrievalPrompts) -> str:
    if settings.encoder:
        return f"a photo of a {words.terms[0]}"
    return " ".join([*words.words, *words.sub_classes, *words.contexts])


def _bm25_scores(texts: Sequence[str], queries: Sequence[str]) -> list[npt.NDArray[np.float32]]:
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)
    tokens = bm25s.tokenize(list(queries), stopwords="en", return_ids=False, show_progress=False)
    known = [[token for token in query if token in index.vocab_dict] for query in tokens]
    return [index.get_scores(query) if query else np.zeros(len(texts), np.float32) for query in known]


def _embedding_scores(
    texts: Sequence[str], queries: Sequence[str], settings: RetrievalPrompts
) -> list[npt.NDArray[np.float32]]:
    from diffumask_datasets.prompts.text_models import embed

    assert settings.encoder is not None
    vectors = embed([*queries, *texts], settings.encoder, settings.encoder_revision)
    count = len(queries)
    return list(vectors[:count] @ vectors[count:].T)
