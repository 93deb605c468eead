"""A given image takes the place of what a pipeline paints, whatever its family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffumask_datasets.diffusion.image_noising import latents_of, noised
from diffumask_datasets.errors import ModelError, RecipeError
from tests.helpers.tiny_models.cases import CAR, CASES, Case

OWN_FORM = {"FLUX.2 dev", "FLUX.2 klein", "Qwen-Image"}
TOKENS = (4, 8)


def photo(case: Case, seed: int = 0) -> np.ndarray:
    shape = (TOKENS[0] * case.token, TOKENS[1] * case.token, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in OWN_FORM], ids=lambda case: case.model)
def test_every_family_can_be_shown_an_image(case):
    """Each layer once at each timestep; what it sees depends on the image and on the noise; afterwards all is as before."""
    backbone = case.backbone()
    scheduler = backbone.pipeline.scheduler
    seen = backbone.observe(photo(case), CAR, timesteps=[600, 200], seed=1)
    layers = case.family.layers(backbone.pipeline, backbone.denoiser, *photo(case).shape[:2])
    assert seen.timesteps == (200, 600)
    assert set(seen.maps) == {(layer, step) for layer in layers for step in (200, 600)}
    assert all(maps.shape == (1, *layers[layer]) for (layer, _), maps in seen.maps.items())
    assert backbone.pipeline.scheduler is scheduler
    last = list(layers)[-1]
    assert not torch.equal(seen.maps[last, 200], seen.maps[last, 600])
    other = backbone.observe(photo(case, seed=5), CAR, timesteps=[200], seed=1)
    assert not torch.equal(seen.maps[last, 200], other.maps[last, 200])


@pytest.mark.parametrize("case", [case for case in CASES if case.name in OWN_FORM], ids=lambda case: case.model)
def test_latents_of_an_own_form_are_refused(case):
    with pytest.raises(ModelError, match=r"has latents of its own form: this model cannot be shown an image"):
        case.backbone().observe(photo(case), CAR, timesteps=[200])


def test_latents_are_those_that_the_decoder_undoes():
    pipeline = next(case for case in CASES if case.model == "flux").backbone().pipeline
    image = np.full((64, 64, 3), 200, np.uint8)
    config = pipeline.vae.config
    plain = pipeline.vae.encode(torch.full((1, 3, 64, 64), 200 / 127.5 - 1)).latent_dist.mean
    expected = (plain - config.shift_factor) * config.scaling_factor
    torch.testing.assert_close(latents_of(pipeline.vae, image), expected, atol=1e-6, rtol=0)


def test_noise_is_that_of_the_training():
    """A straight line for flow matching (also under another sampler), the root of the schedule's product for the others."""
    latents, noise = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), -1.0)
    by_name = {
        case.model: case.backbone().pipeline.scheduler for case in CASES if case.model in ("sd3", "sana", "sdxl")
    }
    for model in ("sd3", "sana"):
        torch.testing.assert_close(noised(by_name[model], latents, noise, 250), torch.full((1, 4, 2, 2), 2.0))
    share = DDPMScheduler.from_config(by_name["sdxl"].config).alphas_cumprod[250]
    expected = latents * share.sqrt() + noise * (1 - share).sqrt()
    torch.testing.assert_close(noised(by_name["sdxl"], latents, noise, 250), expected)


def test_sizes_are_checked():
    case = next(case for case in CASES if case.model == "sdxl")
    with pytest.raises(RecipeError, match="width 100 cannot be painted by this model: it takes multiples of 16"):
        case.backbone().observe(np.zeros((64, 100, 3), np.uint8), CAR, timesteps=[1])
