"""Qwen-Image: joint blocks, text before the image, an LLM's chat template around the prompt; calls apart."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text, wrapped
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["QWEN_IMAGE"]


def _templated(pipeline: Any, prompt: Prompt) -> Prompt:
    before, after = pipeline.prompt_template_encode.split("{}")
    return wrapped(prompt, before, after)


def _guidance(recipe: Recipe, images: int) -> dict[str, Any]:
    if recipe.guidance_scale <= 1:
        return {"true_cfg_scale": 1.0}
    # An empty negative prompt would have no token; a space is what the model's authors use.
    return {"true_cfg_scale": recipe.guidance_scale, "negative_prompt": [recipe.negative_prompt or " "] * images}


def _dropped(pipeline: Any) -> int:
    return int(pipeline.prompt_template_encode_start_idx)


def _limit(pipeline: Any) -> int:
    return _dropped(pipeline) + 512  # so many of the tokens after the template's reach the denoiser


QWEN_IMAGE = Family(
    name="Qwen-Image",
    defaults=Defaults(50, 4.0, size=1024),
    pipelines=("QwenImagePipeline",),
    layers=Blocks(r"transformer_blocks\.\d+\.attn", patch=2),
    text=Text(feed=_templated, max_length=_limit, dropped=_dropped, padding="none"),
    layout=Layout("text first"),
    arguments=_guidance,
    fixed={"max_sequence_length": 512},
)
