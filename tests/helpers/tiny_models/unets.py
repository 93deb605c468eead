"""Tiny UNets: the Stable Diffusions, LCM and Kolors."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UNet2DConditionModel,
)

from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import WIDTH, autoencoder, chat_glm_encoder, clip_encoder


def unet(**options: Any) -> UNet2DConditionModel:
    defaults = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": WIDTH,
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    }
    return UNet2DConditionModel(**{**defaults, **options})


def stable_diffusion(scheduler: Any, **unet_options: Any) -> Any:
    tokenizer = vocabularies.clip()
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=unet(**unet_options),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd1() -> Any:
    return stable_diffusion(DDIMScheduler(clip_sample=False, steps_offset=1))


def sd2() -> Any:
    """Predicts v, linear projections, as many heads as the width asks for."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1)
    return stable_diffusion(scheduler, use_linear_projection=True, attention_head_dim=(1, 2))


def sd_turbo() -> Any:
    return stable_diffusion(EulerAncestralDiscreteScheduler(timestep_spacing="trailing", steps_offset=1))


def lcm() -> Any:
    tokenizer = vocabularies.clip()
    return diffusers.LatentConsistencyModelPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=unet(time_cond_proj_dim=16),
        scheduler=LCMScheduler(clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    first, second = vocabularies.clip(), vocabularies.clip()
    return diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(first, width=16),
        text_encoder_2=clip_encoder(second, projected=True, width=16),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 16,
            use_linear_projection=True,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
        ),
        scheduler=EulerAncestralDiscreteScheduler(steps_offset=1),
    )


def sdxl_turbo() -> Any:
    pipeline = sdxl()
    pipeline.scheduler = EulerAncestralDiscreteScheduler(timestep_spacing="trailing", steps_offset=1)
    return pipeline


def kolors() -> Any:
    tokenizer = vocabularies.chat_glm()
    denoiser = unet(
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + WIDTH,
        use_linear_projection=True,
    )
    # What a planted encoder says must reach the attention with its sign.
    torch.nn.init.eye_(denoiser.encoder_hid_proj.weight)
    return diffusers.KolorsPipeline(
        vae=autoencoder(4),
        text_encoder=chat_glm_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=EulerDiscreteScheduler(steps_offset=1),
    )
