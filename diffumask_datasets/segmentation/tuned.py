"""Pretrained checkpoints that are trained on: the head may be new, the body may not."""

from __future__ import annotations

import logging
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from diffumask_datasets.models.weights import check_fit, listed, load_reported

__all__ = ["load_for_tuning"]

logger = logging.getLogger(__name__)

_HEADS = {"class_predictor", "criterion"}
"""What depends on the classes in families whose body is not a part of its own (EoMT)."""


def load_for_tuning(kind: Any, name: str, config: PretrainedConfig) -> PreTrainedModel:
    """Loads a checkpoint to fine-tune it. A head that it lacks or has for other classes is new.

    Args:
        kind: The class of the model.
        name: The checkpoint.
        config: Says its classes.

    Returns:
        The model.

    Raises:
        ModelError: Weights of the body are missing or have another shape.
    """
    what = f"the model {name!r}"
    model, missing, misshaped = load_reported(kind, name, what=what, config=config)
    check_fit(
        what,
        missing=[weight for weight in missing if _in_body(model, weight)],
        misshaped=[weight for weight in misshaped if _in_body(model, weight)],
    )
    if new := [*missing, *misshaped]:
        logger.warning("%s: %d weights of the head are new and start at random: %s", name, len(new), listed(new))
    assert isinstance(model, PreTrainedModel)
    return model


def _in_body(model: PreTrainedModel, weight: str) -> bool:
    part = weight.partition(".")[0]
    body = {model.base_model_prefix, "backbone"} & {name for name, _ in model.named_children()}
    return part in body if body else part not in _HEADS
