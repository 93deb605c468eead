"""Which attention is read of a model where a recipe says nothing: settings that were tuned to no model.

``make bench-transfer`` measures them on models whose attention was learned, against settings tuned to each.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from diffumask_datasets.attention.automatic import COMPETITION, LAST_TIMESTEP
from diffumask_datasets.diffusion.family import Family
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["AUTO", "JOINT", "attention_defaults", "open_attention"]

logger = logging.getLogger(__name__)

AUTO: Mapping[str, Any] = {
    "attention": "auto",
    "attention_words": "phrase",
    "attention_timesteps": (0, LAST_TIMESTEP),
    "competition": COMPETITION,
    "affinity": "self-attention",
    "affinity_power": 1,
}
"""Layers weighed by agreement with the image, whole phrases, the second half of denoising, one step of self-attention."""

JOINT: Mapping[str, Any] = {**AUTO, "affinity_power": 4}
"""For joint attention, whose image tokens attend to few others at once: heat needs more steps to reach a whole object.

On 40 drawn scenes 4 steps instead of 1 gain 10 points of IoU (several objects) with the MMDiT of ``bench-transfer``, and
lose 6 with the UNet.
"""

WITHOUT_SELF_ATTENTION: Mapping[str, Any] = {**AUTO, "attention": "equal", "competition": 0.0, "affinity": None}
"""The same where self-attention cannot be read: nothing to weigh by, and competition would sharpen noise."""

FEW_STEPS = 8
"""Models of at most so many steps are read at all of them: a part holds too few maps, or none."""


def open_attention(recipe: Recipe) -> list[str]:
    """The attention fields that a recipe leaves open."""
    return [name for name in AUTO if name not in recipe.model_fields_set]


def attention_defaults(recipe: Recipe, family: Any, *, num_inference_steps: int) -> dict[str, Any]:
    """Gives values for :func:`open_attention`; the log says why where they are not :data:`AUTO`.

    Args:
        recipe: A recipe whose model has no fields of its own, as the toybox has.
        family: What the registry has for the model.
        num_inference_steps: The steps that the model will take.

    Returns:
        Field → value.
    """
    names = open_attention(recipe)
    reason = _unreadable(family) if names else None
    if reason:
        logger.info(
            "%s: all layers count alike, and heat does not spread along self-attention: %s", recipe.model, reason
        )
    values = {**(WITHOUT_SELF_ATTENTION if reason else _suited(family))}
    if num_inference_steps <= FEW_STEPS:
        values["attention_timesteps"] = (0, 1000)
    return {name: values[name] for name in names}


def _suited(family: Family) -> Mapping[str, Any]:
    return AUTO if family.layout.order == "cross" else JOINT


def _unreadable(family: Any) -> str | None:
    """Why the self-attention of a family cannot be read; None where it can."""
    if not isinstance(family, Family):
        return "the family is not one of those in docs/models.md"
    return family.self_layers if isinstance(family.self_layers, str) else None
