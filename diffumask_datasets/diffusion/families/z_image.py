"""Z-Image: one stream, the image padded to 32 and then the text; the conditional rows come first."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text, chat
from diffumask_datasets.prompts.prompt import Prompt

__all__ = ["Z_IMAGE"]


def _messaged(pipeline: Any, prompt: Prompt) -> Prompt:
    return chat(pipeline.tokenizer, prompt, add_generation_prompt=True, enable_thinking=True)


Z_IMAGE = Family(
    name="Z-Image",
    defaults=Defaults(50, 5.0, size=1024),
    pipelines=("ZImagePipeline",),
    # The mask_workers before these layers see image or text alone.
    layers=Blocks(r"layers\.\d+\.attention", patch=2),
    text=Text(feed=_messaged, max_length=512, padding="none"),
    layout=Layout("image first", image_multiple=32),
    text_argument="cap_feats",
)
