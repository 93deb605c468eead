"""FLUX.2: joint blocks, text before the image. The dev model reads Mistral 3, the klein models Qwen 3."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family, guidance_alone
from diffumask_datasets.diffusion.text import Text, chat
from diffumask_datasets.prompts.prompt import Prompt

__all__ = ["FLUX2", "FLUX2_KLEIN"]

_LAYERS = Blocks(r"(single_)?transformer_blocks\.\d+\.attn", patch=2)
LENGTH = 512


def _instructed(pipeline: Any, prompt: Prompt) -> Prompt:
    return chat(pipeline.tokenizer, prompt, system=pipeline.system_message, add_generation_prompt=False)


def _messaged(pipeline: Any, prompt: Prompt) -> Prompt:
    return chat(pipeline.tokenizer, prompt, add_generation_prompt=True, enable_thinking=False)


FLUX2 = Family(
    name="FLUX.2 dev",
    defaults=Defaults(50, 4.0, size=1024),
    pipelines=("Flux2Pipeline",),
    layers=_LAYERS,
    text=Text(feed=_instructed, max_length=LENGTH, special_tokens=False),
    layout=Layout("text first"),
    arguments=guidance_alone,
)

FLUX2_KLEIN = Family(
    name="FLUX.2 klein",
    defaults=Defaults(50, 4.0, size=1024),
    pipelines=("Flux2KleinPipeline",),
    layers=_LAYERS,
    text=Text(feed=_messaged, max_length=LENGTH),
    layout=Layout("text first"),
    # Undistilled ones run a second call with an empty prompt.
    arguments=guidance_alone,
)
