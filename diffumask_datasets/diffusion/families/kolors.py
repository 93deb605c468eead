"""Kolors: SDXL's UNet over ChatGLM, whose slow tokenizer gives no character offsets and pads on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffumask_datasets.attention.alignment import align_terms, tokens_of
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.diffusion.families.unets import UNetLayers
from diffumask_datasets.diffusion.family import Defaults, Family
from diffumask_datasets.prompts.prompt import Prompt, Term

__all__ = ["KOLORS"]

LENGTH = 256
"""Tokens that the denoiser is given."""

SPACE = "▁"


class _Spelled:
    """The pieces of ChatGLM's tokenizer with the characters that they spell, after two special tokens."""

    is_fast = True
    model_max_length = LENGTH

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str, *, truncation: bool = False, max_length: int | None = None, **options: Any) -> Any:
        spans = [(0, 0), (0, 0)]
        place = 0
        for piece in self._tokenizer.tokenize(text):
            start = text.find(spelt := piece.replace(SPACE, " ").strip(), place) if piece.strip(SPACE) else -1
            # Pieces of bytes, and of what the tokenizer normalises, stand for no characters of their own.
            spans.append((place, place) if start < 0 else (start, start + len(spelt)))
            place = spans[-1][1]
        kept = spans[:max_length] if truncation else spans
        return {"input_ids": kept, "offset_mapping": kept}


def _text(pipeline: Any, prompts: Sequence[Prompt]) -> list[TextTokens]:
    tokenizer = _Spelled(pipeline.tokenizer)
    texts = []
    for prompt in prompts:
        length = len(tokenizer(prompt.text, truncation=True, max_length=LENGTH)["input_ids"])
        words = tokens_of(Term("", 0, len(prompt.text)), prompt.text, tokenizer, max_length=LENGTH)
        texts.append(TextTokens(align_terms(prompt, tokenizer), length, words, 0).shifted(LENGTH - length))
    return texts


KOLORS = Family(
    name="Kolors",
    defaults=Defaults(50, 5.0),
    pipelines=("KolorsPipeline",),
    denoiser="unet",
    layers=UNetLayers(),
    self_attention=UNetLayers(cross=False),
    text=_text,
    fixed={"max_sequence_length": LENGTH},
    dtype="float16",
)
