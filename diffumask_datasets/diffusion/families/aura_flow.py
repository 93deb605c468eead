"""AuraFlow: joint and single blocks over eight registers, the text, the image."""

from __future__ import annotations

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text

__all__ = ["AURA_FLOW"]

AURA_FLOW = Family(
    name="AuraFlow",
    defaults=Defaults(50, 3.5, size=1024),
    pipelines=("AuraFlowPipeline",),
    layers=Blocks(r"(joint|single)_transformer_blocks\.\d+\.attn"),
    text=Text(max_length=256),
    layout=Layout("text first", registers=8),
    dtype="float16",
)
