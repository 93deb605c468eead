"""The trial of an installation notices a model that paints something else."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.trial import paint_trial


def test_a_text_encoder_with_random_weights_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load_model("toybox", device="cpu")
    torch.manual_seed(0)
    for module in backbone.pipeline.text_encoder.modules():  # type: ignore[attr-defined]
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    monkeypatch.setattr("diffumask_datasets.generation.sample_generator.load_checked_model", lambda *_: backbone)
    with pytest.raises(
        ModelError, match=r"^generated 'a photo of a car': the judge sees .*; that is no car with its mask"
    ):
        paint_trial()
