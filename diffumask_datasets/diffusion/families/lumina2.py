"""Lumina 2: one stream in which each image follows its own prompt; padding comes last."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text, wrapped
from diffumask_datasets.prompts.prompt import Prompt

__all__ = ["LUMINA2"]


def _instructed(pipeline: Any, prompt: Prompt) -> Prompt:
    return wrapped(prompt, pipeline.system_prompt + " <Prompt Start> ")


LUMINA2 = Family(
    name="Lumina 2",
    defaults=Defaults(30, 4.0),
    pipelines=("Lumina2Pipeline", "Lumina2Text2ImgPipeline"),
    layers=Blocks(r"layers\.\d+\.attn"),
    text=Text(feed=_instructed, max_length=256),
    layout=Layout("text first", packed=True),
)
