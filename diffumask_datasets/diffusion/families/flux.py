"""FLUX.1: double and single blocks over one joint sequence, T5 text before the image; CLIP gives a pooled vector only."""

from __future__ import annotations

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family, guidance_alone
from diffumask_datasets.diffusion.text import Text

__all__ = ["FLUX"]

FLUX = Family(
    name="FLUX.1",
    defaults=Defaults(28, 3.5, size=1024),
    pipelines=("FluxPipeline",),
    layers=Blocks(r"(single_)?transformer_blocks\.\d+\.attn", patch=2),
    text=Text(tokenizer="tokenizer_2", max_length=512),
    layout=Layout("text first"),
    # The distilled guidance of the dev model is an input; schnell ignores it.
    arguments=guidance_alone,
)
