"""HunyuanDiT: separate cross-attention to 77 tokens of a BERT and 256 of mT5."""

from __future__ import annotations

from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Both, Text

__all__ = ["HUNYUAN_DIT"]

HUNYUAN_DIT = Family(
    name="HunyuanDiT",
    defaults=Defaults(50, 5.0),
    pipelines=("HunyuanDiTPipeline",),
    layers=Blocks(r"blocks\.\d+\.attn2"),
    self_attention=Blocks(r"blocks\.\d+\.attn1"),
    text=Both(Text(max_length=77), Text(tokenizer="tokenizer_2", max_length=256, offset=77)),
    # Binning would generate another size than requested.
    fixed={"use_resolution_binning": False},
    dtype="float16",
)
