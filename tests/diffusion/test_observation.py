"""A tiny random pipeline is shown images; attention planted in one layer is found by the search."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.diffusion.fake_model import FakeModel
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.attention_search import AnnotatedImage, tune_attention, write_report
from diffumask_datasets.prompts.prompt import Prompt, Term

CAR = Prompt("a photo of a red car", (Term("car", 17, 20),))
TWO = Prompt("a boat and a red car", (Term("boat", 2, 6), Term("car", 17, 20)))
FINEST = "up_blocks.2.attentions.0.transformer_blocks.0.attn2"


def photo(height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@contextlib.contextmanager
def looking_at(module, token, region):
    """The module's cells inside ``region`` attend to ``token``, all others to the first one."""

    def query(_, args, output):
        heads = torch.zeros_like(output).unflatten(2, (2, -1))
        heads[:, region.flatten(), :, 1] = 50
        heads[:, ~region.flatten(), :, 0] = 50
        return heads.flatten(2)

    def key(_, args, output):
        heads = torch.zeros_like(output).unflatten(2, (2, -1))
        heads[:, 0, :, 0] = 50
        heads[:, token, :, 1] = 50
        return heads.flatten(2)

    hooks = [module.to_q.register_forward_hook(query), module.to_k.register_forward_hook(key)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def test_everything_is_written_down(backbone):
    seen = backbone.observe(photo(64, 128), TWO, timesteps=[100, 500], seed=3)
    assert seen.categories == ("boat", "car")
    assert (seen.sinks.names, seen.sinks.tokens) == (("<start>", "<words>"), (1, 4))
    assert seen.timesteps == (100, 500)
    assert len(seen.layers) == 10
    assert seen.maps[FINEST, 500].shape == (4, 8, 16)
    assert {grid for grid, _ in seen.affinities} == {(8, 16), (4, 8), (2, 4)}
    affinity = seen.affinities[(8, 16), 100].float()
    torch.testing.assert_close(affinity.sum(dim=1), torch.ones(128), atol=2e-3, rtol=0)
    assert not torch.equal(seen.maps[FINEST, 500], seen.maps[FINEST, 100])


def test_the_attention_is_that_of_the_denoiser_on_the_noised_latents(backbone):
    """Against diffusers' own scores, computed from what the layer is given."""
    pipeline, timestep = backbone.pipeline, 300
    module, scores = pipeline.unet.get_submodule(FINEST), []

    def recompute(_, args, kwargs):
        hidden, text = args[0], kwargs["encoder_hidden_states"]
        query, key = module.head_to_batch_dim(module.to_q(hidden)), module.head_to_batch_dim(module.to_k(text))
        scores.append(module.get_attention_scores(query, key).mean(dim=0))

    hook = module.register_forward_pre_hook(recompute, with_kwargs=True)
    try:
        seen = backbone.observe(photo(), CAR, timesteps=[timestep], seed=1)
    finally:
        hook.remove()
    (token,) = align_terms(CAR, pipeline.tokenizer)["car"]
    torch.testing.assert_close(seen.maps[FINEST, timestep][0].flatten(), scores[0][:, token], atol=1e-5, rtol=0)


def test_same_seed_same_observation(backbone):
    one, two, other = (backbone.observe(photo(), CAR, timesteps=[500], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.maps[FINEST, 500], two.maps[FINEST, 500])
    assert not torch.equal(one.maps[FINEST, 500], other.maps[FINEST, 500])


def test_the_layer_that_looks_at_the_object_is_found(backbone, tmp_path):
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[1:4, 2:7] = True
    label = np.kron(region.numpy(), np.ones((8, 8))).astype(np.uint8)
    (token,) = align_terms(CAR, backbone.pipeline.tokenizer)["car"]
    with looking_at(backbone.pipeline.unet.get_submodule(FINEST), token, region):
        tuning = tune_attention(backbone, [AnnotatedImage(photo(), label, CAR, ("car",))] * 2, timesteps=(100, 600))
    assert tuning.choice.layers == (FINEST,)
    assert tuning.ious.min() > 0.9
    assert tuning.recipe_fields["attention_grids"] == [8]
    write_report(tuning, tmp_path)
    report = json.loads((tmp_path / "attention.json").read_text())
    assert report["objects"] == 2
    assert report["iou_several_classes"] is None
    assert len(report["places"]) == 20
    assert Image.open(tmp_path / "attention.png").size[0] > 200


def test_what_cannot_be_shown(backbone):
    with pytest.raises(RecipeError, match="height 100 cannot be painted by this model: it takes multiples of 32"):
        backbone.observe(photo(100, 64), CAR, timesteps=[1])
    with pytest.raises(ModelError, match="FakeModel cannot be shown an image"):
        tune_attention(FakeModel(), [])
    with pytest.raises(RecipeError, match="no annotated image"):
        tune_attention(backbone, [])
