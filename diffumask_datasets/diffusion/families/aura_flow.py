"""AuraFlow: joint and single blocks over eight registers, the text, the image."""

from __future__ import annotations

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Family
from diffumask_datasets.diffusion.text import Text

__all__ = ["AURA_FLOW"]

AURA_FLOW = Family(
    name="AuraFlow",
    pipelines=("AuraFlowPipeline",),
    layers=Blocks(r"(joint|single)_transformer_blocks\.\d+\.attn"),
    text=Text(max_length=256),
    layout=Layout("text first", registers=8),
    dtype="float16",
)
