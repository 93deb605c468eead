"""Tiny random pipelines: the real classes, schedulers and kinds of tokenizer, built from configurations."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import torch

from tests.helpers.tiny_models import cross_attention, flux, joint_attention, unets

PIPELINES = ChainMap(*map(vars, (unets, cross_attention, flux, joint_attention)))


def built(name: str) -> Any:
    """The pipeline ``name``, always with the same weights and without a progress bar."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = PIPELINES[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # as from_pretrained leaves them: T5 has dropout
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
