"""Sana: separate cross-attention to Gemma; its self-attention is linear and has no map."""

from __future__ import annotations

import inspect
from typing import Any

from diffumask_datasets.diffusion.family import Blocks, Defaults, Family
from diffumask_datasets.diffusion.text import Text, lowered, wrapped
from diffumask_datasets.prompts.prompt import Prompt

__all__ = ["SANA"]

LENGTH = 300
"""Text tokens that reach the denoiser: the first and the last 299 of the padded instruction and prompt."""


def _instruction(pipeline: Any) -> str:
    """The text that the pipeline puts before every prompt unless told otherwise."""
    return "\n".join(inspect.signature(type(pipeline).__call__).parameters["complex_human_instruction"].default)


def _dropped(pipeline: Any) -> int:
    return len(pipeline.tokenizer.encode(_instruction(pipeline))) - 2


def _instructed(pipeline: Any, prompt: Prompt) -> Prompt:
    pipeline.tokenizer.padding_side = "right"  # as the pipeline itself does, only later
    return wrapped(lowered(pipeline, prompt), _instruction(pipeline))


SANA = Family(
    name="Sana",
    defaults=Defaults(20, 4.5),
    pipelines=("SanaPipeline",),
    layers=Blocks(r"transformer_blocks\.\d+\.attn2"),
    self_attention="its self-attention is linear and has no map from pixel to pixel",
    text=Text(
        feed=_instructed,
        max_length=lambda pipeline: _dropped(pipeline) + LENGTH,
        dropped=_dropped,
        keeps_start=True,
    ),
    fixed={"clean_caption": False, "use_resolution_binning": False},
)
