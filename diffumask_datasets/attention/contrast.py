"""A class's attention against that of the prompt's other tokens, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = ["BACKGROUND_SINK", "START_SINK", "Contrast", "Sinks", "contrasted", "sinks_of"]

Contrast = Literal["start", "words", "background"]
"""``start``: divided by the attention to the start token; ``words``: the share of all attention to words;
``background``: less the mean attention of the words that name no class."""

START_SINK, BACKGROUND_SINK = "<start>", "<words>"
"""The first token, and all words of the prompt that name no class. Angle brackets keep them apart from class names."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class Sinks:
    """How many tokens stand behind each row of a stack of class maps and sink maps, in its order."""

    class_tokens: tuple[int, ...]
    names: tuple[str, ...]
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, *, classes: Mapping[str, Sequence[int]], sinks: Mapping[str, Sequence[int]]) -> Sinks:
        """From the key indices of each class and sink."""
        return cls(
            tuple(len(indices) for indices in classes.values()),
            tuple(sinks),
            tuple(len(indices) for indices in sinks.values()),
        )


def sinks_of(columns: Mapping[str, Sequence[int]], *, words: int) -> dict[str, tuple[int, ...]]:
    """The sinks of a prompt whose tokens 1..``words`` are its words; a sink without tokens is left out."""
    named = {index for indices in columns.values() for index in indices}
    others = tuple(index for index in range(1, words + 1) if index not in named)
    return {START_SINK: (0,), **({BACKGROUND_SINK: others} if others else {})}


def contrasted(weights: torch.Tensor, sinks: Sinks, contrast: Contrast | None) -> torch.Tensor:
    """Class maps, float32 (classes, pixels) ≥ 0, of ``weights`` (classes + sinks, pixels), attention per token.

    A sink that the prompt does not have changes nothing.
    """
    count = len(sinks.class_tokens)
    classes = weights[:count]
    if contrast == "start" and START_SINK in sinks.names:
        return classes / weights[count + sinks.names.index(START_SINK)].clamp_min(_TINY)
    if contrast == "words":
        return classes / _word_attention(weights, sinks).clamp_min(_TINY)
    if contrast == "background" and BACKGROUND_SINK in sinks.names:
        return (classes - weights[count + sinks.names.index(BACKGROUND_SINK)]).clamp_min(0)
    return classes


def _word_attention(weights: torch.Tensor, sinks: Sinks) -> torch.Tensor:
    """Attention to all words together (pixels,)."""
    tokens = [
        *sinks.class_tokens,
        *(0 if name == START_SINK else n for name, n in zip(sinks.names, sinks.tokens, strict=True)),
    ]
    return torch.tensor(tokens, dtype=weights.dtype, device=weights.device) @ weights
