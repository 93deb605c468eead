"""Stable Diffusion 3 and 3.5: joint blocks, text after the image: 77 tokens that two CLIPs share, then T5's."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Both, Text

__all__ = ["STABLE_DIFFUSION_3"]


def _clip_tokens(pipeline: Any) -> int:
    return int(pipeline.tokenizer_max_length)


STABLE_DIFFUSION_3 = Family(
    name="Stable Diffusion 3 / 3.5",
    defaults=Defaults(28, 7.0),
    pipelines=("StableDiffusion3Pipeline",),
    # attn2 of 3.5 medium sees the image alone.
    layers=Blocks(r"transformer_blocks\.\d+\.attn"),
    text=Both(Text(), Text(tokenizer="tokenizer_3", max_length=256, offset=_clip_tokens), optional="text_encoder_3"),
    layout=Layout("image first"),
    fixed={"max_sequence_length": 256},
)
