"""Tokenizer and text encoder of a small model: taken from another model, or new."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from diffumask_datasets.models.weights import load_whole
from examples.small_model.tokenizer import END, MAX_LENGTH, START, build_tokenizer

__all__ = ["caption_tokens", "load_text", "new_text", "with_projection"]

WIDTH = 128
WORDS = 4000
"""Most words that are tokens of their own."""


def load_text(folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder (float32) of the diffusers pipeline in ``folder``."""
    what = f"the text_encoder of {folder}"
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return tokenizer, load_whole(CLIPTextModel, folder / "text_encoder", what=what, dtype=torch.float32)


def new_text(captions: Iterable[str], *, layers: int = 2) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """A tokenizer in which the common words of ``captions`` are one token each, and an untrained text encoder."""
    counts = Counter(word for caption in captions for word in re.findall(r"[a-z]+|[.,]", caption.lower()))
    tokenizer = build_tokenizer(sorted(word for word, _ in counts.most_common(WORDS)))
    ids = tokenizer.get_vocab()
    config = CLIPTextConfig(
        vocab_size=len(ids),
        bos_token_id=ids[START],
        eos_token_id=ids[END],
        pad_token_id=ids[END],
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
    )
    encoder = CLIPTextModel(config)
    # At the usual 0.02 one shared direction drowns the words: "car" and "tree" came out alike to four digits.
    torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=1.0)
    return tokenizer, encoder


@torch.no_grad()
def with_projection(text: CLIPTextModel) -> CLIPTextModelWithProjection:
    """The same encoder for Stable Diffusion 3, which reads the layer before the last: a layer that adds nothing is put on.

    The projection is the identity.
    """
    layers = text.config.num_hidden_layers
    config = CLIPTextConfig(
        **(text.config.to_dict() | {"num_hidden_layers": layers + 1, "projection_dim": text.config.hidden_size})
    )
    model = CLIPTextModelWithProjection(config)
    weights = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.state_dict().items()}
    model.load_state_dict(weights, strict=False)
    for name, weight in model.named_parameters():
        if re.search(rf"layers\.{layers}\.(self_attn\.out_proj|mlp\.fc2)\.", name):
            weight.zero_()
    torch.nn.init.eye_(model.text_projection.weight)
    return model


def caption_tokens(captions: list[str], tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Token ids int64 (len(captions), length), padded to the tokenizer's length."""
    ids: torch.Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids
