"""The joint-attention model of the drawn world: its transformer lies in ``tests/models/mmdit``, the rest is the toybox's."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel

from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.models.weights import load_whole
from examples.small_model.autoencoder import load_autoencoder
from examples.small_model.mmdit import mmdit_pipeline
from examples.small_model.text import load_text, with_projection

WEIGHTS = Path(__file__).parents[1] / "models" / "mmdit"
"""``transformer/`` in float16, and ``training.json``: the command and the facts of its training."""


def save_small_mmdit(folder: Path) -> Path:
    """Writes the whole pipeline to ``folder``, as ``model=`` takes it."""
    transformer = load_whole(
        SD3Transformer2DModel,
        WEIGHTS / "transformer",
        what="the transformer of tests/models/mmdit",
        torch_dtype=torch.float32,
    )
    tokenizer, text = load_text(TOYBOX)
    mmdit_pipeline(transformer, with_projection(text), load_autoencoder(TOYBOX / "vae"), tokenizer).save_pretrained(
        folder
    )
    return folder


def keep_transformer(model: Path) -> None:
    """Takes what is to be committed from ``model``, which ``examples.small_model.train`` has written."""
    shutil.rmtree(WEIGHTS, ignore_errors=True)
    shutil.copytree(model / "transformer", WEIGHTS / "transformer")
    shutil.copy(model / "training.json", WEIGHTS / "training.json")
