"""Sets a class's attention against that of the prompt's other tokens, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from diffumask_datasets.attention.layout import TextTokens

__all__ = ["BACKGROUND_WORDS", "START_TOKEN", "BackgroundTokens", "Contrast", "background_tokens", "contrasted"]

Contrast = Literal["start", "words", "background"]
"""``start``: divided by the attention to the start token; ``words``: the share of all attention to words;
``background``: less the mean attention of the words that name no class."""

START_TOKEN, BACKGROUND_WORDS = "<start>", "<words>"
"""The start token, and all words of the prompt that name no class. Angle brackets keep them apart from class names."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class BackgroundTokens:
    """How many tokens stand behind each row of a stack of class maps and background maps, in its order."""

    class_counts: tuple[int, ...]
    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, classes: Mapping[str, Sequence[int]], background: Mapping[str, Sequence[int]]) -> BackgroundTokens:
        """From the token indices of each class and each background group."""
        return cls(tuple(map(len, classes.values())), tuple(background), tuple(map(len, background.values())))


def background_tokens(text: TextTokens) -> dict[str, tuple[int, ...]]:
    """Token indices of the start token and of the words that name no class; a group without tokens is left out."""
    named = {index for indices in text.token_indices.values() for index in indices}
    groups = {
        START_TOKEN: () if text.start is None else (text.start,),
        BACKGROUND_WORDS: tuple(index for index in text.words if index not in named),
    }
    return {name: indices for name, indices in groups.items() if indices}


def contrasted(weights: torch.Tensor, background: BackgroundTokens, contrast: Contrast | None) -> torch.Tensor:
    """Sets the attention of each class against that of other tokens. A group that the prompt does not have changes nothing.

    Args:
        weights: Attention per token, (classes + background groups, pixels).
        background: Which groups there are.
        contrast: What each class is set against; None for nothing.

    Returns:
        Float32 (classes, pixels) ≥ 0.
    """
    count = len(background.class_counts)
    classes = weights[:count]
    if contrast == "start" and START_TOKEN in background.names:
        return classes / weights[count + background.names.index(START_TOKEN)].clamp_min(_TINY)
    if contrast == "words":
        return classes / _word_attention(weights, background).clamp_min(_TINY)
    if contrast == "background" and BACKGROUND_WORDS in background.names:
        return (classes - weights[count + background.names.index(BACKGROUND_WORDS)]).clamp_min(0)
    return classes


def _word_attention(weights: torch.Tensor, background: BackgroundTokens) -> torch.Tensor:
    """Attention to all words together (pixels,)."""
    groups = zip(background.names, background.counts, strict=True)
    tokens = [*background.class_counts, *(0 if name == START_TOKEN else count for name, count in groups)]
    return torch.tensor(tokens, dtype=weights.dtype, device=weights.device) @ weights
