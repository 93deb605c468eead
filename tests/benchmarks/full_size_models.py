"""Pipelines of published architectures at their full width, with random weights."""

from __future__ import annotations

from typing import Any

import diffusers

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.families.flux import FLUX
from diffumask_datasets.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import SHIFTING, autoencoder, clip_encoder, t5_encoder


def stable_diffusion_15(*, whole: bool = False, **unet_options: Any) -> DiffusersModel:
    """The published architecture of the UNet with random weights, and of the decoder if ``whole``; the rest is tiny."""
    config = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64, **unet_options}
    tokenizer = vocabularies.clip()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=_decoder_of_sd15() if whole else autoencoder(4),
        text_encoder=clip_encoder(tokenizer, width=config["cross_attention_dim"]),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(**config).eval(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return DiffusersModel(pipeline, STABLE_DIFFUSION)


def _decoder_of_sd15() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
    ).eval()


def flux_like(**options: Any) -> DiffusersModel:
    """FLUX.1's blocks at their published width, one double and two single ones, with random weights."""
    config = {
        "num_layers": 1,
        "num_single_layers": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        **options,
    }
    clip, t5 = vocabularies.clip(), vocabularies.t5()
    pipeline = diffusers.FluxPipeline(
        scheduler=SHIFTING,
        vae=autoencoder(16, quantised=False, shift_factor=0.1),
        text_encoder=clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
        transformer=diffusers.FluxTransformer2DModel(**config).eval(),
    )
    return DiffusersModel(pipeline, FLUX)
