"""A given image is fed to the denoiser, whatever the family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffumask_datasets.diffusion.image_noising import latents_of, noised
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.attention_search import AnnotatedImage, tune_attention
from tests.helpers.tiny_models.cases import CAR, CASES, PIECES, Case
from tests.helpers.tiny_models.checks import GRID, REGION
from tests.helpers.tiny_models.planting import planted

TOKENS = (4, 8)


def photo(case: Case, seed: int = 0) -> np.ndarray:
    shape = (TOKENS[0] * case.token, TOKENS[1] * case.token, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
def test_every_family_reads_a_given_image(case):
    """Each layer once at each timestep; what it sees depends on the image and on the noise; afterwards all is as before."""
    diffusion_model = case.diffusion_model()
    scheduler = diffusion_model.pipeline.scheduler
    seen = diffusion_model.observe(photo(case), CAR, timesteps=[600, 200], seed=1)
    layers = case.family.layers(diffusion_model.pipeline, diffusion_model.denoiser, *photo(case).shape[:2])
    assert seen.timesteps == (200, 600)
    assert set(seen.maps) == {(layer, step) for layer in layers for step in (200, 600)}
    assert seen.background_tokens.names == (("<start>", "<words>") if case.starts else ("<words>",))
    rows = 1 + len(seen.background_tokens.names)
    assert all(maps.shape == (rows, *layers[layer]) for (layer, _), maps in seen.maps.items())
    assert diffusion_model.pipeline.scheduler is scheduler
    assert {(4, 8)} <= {grid for grid, _ in seen.affinities} if case.affinity else not seen.affinities
    assert all(torch.allclose(one.float().sum(dim=1), torch.ones(1), atol=2e-3) for one in seen.affinities.values())
    last = list(layers)[-1]
    assert not torch.equal(seen.maps[last, 200], seen.maps[last, 600])
    other = diffusion_model.observe(photo(case, seed=5), CAR, timesteps=[200], seed=1)
    assert not torch.equal(seen.maps[last, 200], other.maps[last, 200])


FORMS = ("pixart_alpha", "lumina2", "flux", "flux2", "qwen_image", "z_image")
"""A model for each form in which a denoiser takes latents: as they are, packed in three ways, as a list of videos."""


@pytest.mark.parametrize("case", [case for case in CASES if case.model in FORMS], ids=lambda case: case.model)
def test_attention_is_searched_whatever_the_form_of_the_latents(case, monkeypatch):
    """The latents of an image say where its object is; found by the search, every token reached its own place."""
    diffusion_model = case.diffusion_model()

    def sign_of(pipeline, image):
        latents = latents_of(pipeline, image)
        scale = latents.shape[-1] // GRID[1]
        return torch.where(REGION, 1.0, -1.0).repeat_interleave(scale, 0).repeat_interleave(scale, 1).expand_as(latents)

    monkeypatch.setattr("diffumask_datasets.diffusion.diffusion.latents_of", sign_of)
    label = np.kron(REGION.numpy(), np.ones((case.token, case.token))).astype(np.uint8)
    image = np.zeros((*label.shape, 3), np.uint8)
    with planted(diffusion_model.pipeline, diffusion_model.denoiser, PIECES, REGION, dict(case.embedders)):
        tuning = tune_attention(diffusion_model, [AnnotatedImage(image, label, CAR, ("car",))], timesteps=(1,))
    assert tuning.ious.min() > 0.9
    assert tuning.recipe_fields["attention_grids"] == [4]


def test_latents_of_an_unknown_scaling_are_refused():
    pipeline = next(case for case in CASES if case.model == "flux").diffusion_model().pipeline
    pipeline.vae.register_to_config(scaling_factor=None)
    with pytest.raises(ModelError, match="the latents of a AutoencoderKL are scaled in an unknown way"):
        latents_of(pipeline, np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("model", ["flux", "qwen_image", "flux2"])
def test_latents_are_those_that_the_decoder_undoes(model):
    """Each pipeline's own way back from latents, with a scaling that changes them, gives what the encoder said."""
    pipeline = next(case for case in CASES if case.model == model).diffusion_model().pipeline
    image, vae = np.full((64, 64, 3), 200, np.uint8), pipeline.vae
    pixels = torch.full((1, 3, 64, 64), 200 / 127.5 - 1)
    if model == "flux":
        plain = vae.encode(pixels).latent_dist.mean
        expected = (plain - vae.config.shift_factor) * vae.config.scaling_factor
    elif model == "qwen_image":
        vae.register_to_config(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[2.0, 3.0, 4.0, 5.0])
        plain = vae.encode(pixels[:, :, None]).latent_dist.mean[:, :, 0]
        mean, std = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([2.0, 3.0, 4.0, 5.0])
        expected = (plain - mean[:, None, None]) / std[:, None, None]
    else:
        vae.bn.running_mean.fill_(0.5)
        vae.bn.running_var.fill_(4.0)
        expected = pipeline._encode_vae_image(pixels, generator=None)
    with torch.no_grad():
        torch.testing.assert_close(latents_of(pipeline, image), expected, atol=1e-5, rtol=0)


def test_noise_is_that_of_the_training():
    """A straight line for flow matching (also under another sampler), the root of the schedule's product for the others."""
    latents, noise = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), -1.0)
    by_name = {
        case.model: case.diffusion_model().pipeline.scheduler for case in CASES if case.model in ("sd3", "sana", "sdxl")
    }
    for model in ("sd3", "sana"):
        torch.testing.assert_close(noised(by_name[model], latents, noise, 250), torch.full((1, 4, 2, 2), 2.0))
    share = DDPMScheduler.from_config(by_name["sdxl"].config).alphas_cumprod[250]
    expected = latents * share.sqrt() + noise * (1 - share).sqrt()
    torch.testing.assert_close(noised(by_name["sdxl"], latents, noise, 250), expected)


def test_sizes_are_checked():
    case = next(case for case in CASES if case.model == "sdxl")
    with pytest.raises(RecipeError, match="width 100 cannot be generated by this model: it takes multiples of 16"):
        case.diffusion_model().observe(np.zeros((64, 100, 3), np.uint8), CAR, timesteps=[1])
