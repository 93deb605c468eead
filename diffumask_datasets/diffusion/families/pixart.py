"""PixArt-α and PixArt-Σ: separate cross-attention to T5, prompts in lower case."""

from __future__ import annotations

from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text, lowered

__all__ = ["PIXART_ALPHA", "PIXART_SIGMA"]

# Binning would generate another size than requested, cleaning would change the string that the terms stand in.
_FIXED = {"clean_caption": False, "use_resolution_binning": False}

PIXART_ALPHA = Family(
    name="PixArt-α",
    defaults=Defaults(20, 4.5),
    pipelines=("PixArtAlphaPipeline",),
    layers=Blocks(r"transformer_blocks\.\d+\.attn2"),
    self_attention=Blocks(r"transformer_blocks\.\d+\.attn1"),
    text=Text(feed=lowered, max_length=120),
    fixed=_FIXED,
    dtype="float16",
)

PIXART_SIGMA = Family(
    name="PixArt-Σ",
    defaults=Defaults(20, 4.5),
    pipelines=("PixArtSigmaPipeline",),
    layers=Blocks(r"transformer_blocks\.\d+\.attn2"),
    self_attention=Blocks(r"transformer_blocks\.\d+\.attn1"),
    text=Text(feed=lowered, max_length=300),
    fixed=_FIXED,
    dtype="float16",
)
