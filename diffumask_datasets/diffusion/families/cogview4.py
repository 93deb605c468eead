"""CogView4: joint blocks, text before the image, padded on the left to a multiple of 16; calls apart."""

from __future__ import annotations

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text

__all__ = ["COGVIEW4"]

COGVIEW4 = Family(
    name="CogView4",
    defaults=Defaults(50, 5.0),
    pipelines=("CogView4Pipeline",),
    layers=Blocks(r"transformer_blocks\.\d+\.attn1"),
    text=Text(max_length=1024, padding="longest", multiple=16),
    layout=Layout("text first"),
)
