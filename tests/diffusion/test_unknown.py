"""A pipeline that nobody registered is read as its declared family reads it, or refused."""

from __future__ import annotations

import logging

import pytest
import torch

from diffumask_datasets.attention.layout import Layout
from diffumask_datasets.diffusion import registry
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.families.unknown import family_of
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.errors import CaptureError
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.cases import CASES, REQUESTS

BY_MODEL = {case.model: case for case in CASES}
GRID = (4, 8)


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("sdxl", Layout("cross")),
        ("sana", Layout("cross")),
        ("flux", Layout("text first")),
        ("chroma", Layout("text first")),
        ("aura_flow", Layout("text first", registers=8)),
    ],
)
def test_what_is_found_equals_what_is_declared(model, layout):
    case = BY_MODEL[model]
    declared = case.diffusion_model()
    found = DiffusersModel(declared.pipeline, family_of(declared.pipeline))
    assert found.family.layout == layout
    assert found._chosen_layers(case.recipe()) == declared._chosen_layers(case.recipe())
    for one, other in zip(
        found.generate(REQUESTS, case.recipe()), declared.generate(REQUESTS, case.recipe()), strict=True
    ):
        assert torch.equal(one.attention.grids[GRID], other.attention.grids[GRID])


def test_nothing_is_left_behind():
    pipeline = models.built("flux")
    before = type(pipeline.tokenizer_2).__call__
    family_of(pipeline)
    assert type(pipeline.tokenizer_2).__call__ is before
    assert "encode_prompt" not in vars(pipeline)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipeline.transformer.modules())


def test_an_unregistered_class_is_loaded_and_the_assumptions_are_said(tmp_path, monkeypatch, caplog):
    models.built("chroma").save_pretrained(tmp_path)
    monkeypatch.delitem(registry._FAMILIES, "ChromaPipeline")
    with caplog.at_level(logging.WARNING):
        diffusion_model = load_model(str(tmp_path), device="cpu")
    assert (
        "is a ChromaPipeline, which is not registered. Assumed from one step: 2 layers of joint attention in "
        "'transformer', tokens of 16 pixels, sequence order 'text first' with 0 tokens before, the text of 'tokenizer' "
        "without its first 0. Look at some heat maps before you trust them."
    ) in caplog.text
    assert set(diffusion_model._chosen_layers(BY_MODEL["chroma"].recipe())) == {
        "transformer_blocks.0.attn",
        "single_transformer_blocks.0.attn",
    }


def test_a_model_that_the_prompt_does_not_reach():
    pipeline = models.built("sd1")
    encode = pipeline.encode_prompt
    pipeline.encode_prompt = lambda *args, **kwargs: tuple(
        None if part is None else part.new_ones(part.shape) for part in encode(*args, **kwargs)
    )
    forward = pipeline.unet.forward
    pipeline.unet.forward = lambda sample, timestep, encoder_hidden_states, **kwargs: forward(
        sample, timestep, encoder_hidden_states.new_zeros(encoder_hidden_states.shape), **kwargs
    )

    def blind(module, args, kwargs):
        kwargs["encoder_hidden_states"] = kwargs["encoder_hidden_states"] * 0
        return args, kwargs

    pipeline.unet.register_forward_pre_hook(blind, with_kwargs=True)
    with pytest.raises(CaptureError, match="no prompt token reaches the image in StableDiffusionPipeline"):
        family_of(pipeline)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("sd3", "none of the tokenizers of StableDiffusion3Pipeline made 272 tokens"),  # two encoders in one sequence
        ("cogview4", "none of the tokenizers of CogView4Pipeline made 16 tokens"),  # padded by the pipeline itself
    ],
)
def test_layouts_that_cannot_be_told_are_refused(model, message):
    with pytest.raises(CaptureError, match=message):
        family_of(models.built(model))
