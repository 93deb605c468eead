"""The trial of an installation notices a model that generates something else."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.trial import generate_trial


def test_a_text_encoder_with_random_weights_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion_model = load_model("toybox", device="cpu")
    torch.manual_seed(0)
    for module in diffusion_model.pipeline.text_encoder.modules():  # type: ignore[attr-defined]
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    monkeypatch.setattr("diffumask_datasets.generation.sample_generator.load_checked_model", lambda *_: diffusion_model)
    with pytest.raises(
        ModelError, match=r"^generated 'a photo of a car': the judge sees .*; that is no car with its mask"
    ):
        generate_trial()
