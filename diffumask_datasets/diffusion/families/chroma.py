"""Chroma: FLUX.1's blocks without guidance embedding; conditional and unconditional calls apart."""

from __future__ import annotations

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text

__all__ = ["CHROMA"]

CHROMA = Family(
    name="Chroma",
    defaults=Defaults(35, 5.0, size=1024),
    pipelines=("ChromaPipeline",),
    layers=Blocks(r"(single_)?transformer_blocks\.\d+\.attn", patch=2),
    text=Text(max_length=512),
    layout=Layout("text first"),
)
