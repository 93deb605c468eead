"""Pipelines of published architectures at their full width, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.families.flux import FLUX
from diffumask_datasets.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import SHIFTING, autoencoder, clip_encoder, t5_encoder


@dataclass(frozen=True, slots=True)
class Place:
    """Where large networks are made, and of which type; on a GPU that takes seconds instead of minutes."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def __call__(self, kind: Callable[..., Any], **config: Any) -> Any:
        """A network with random weights."""
        with ExitStack() as restore:
            restore.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(self.dtype)
            restore.enter_context(torch.device(self.device))
            return kind(**config).eval()


HERE = Place()


def stable_diffusion_15(*, whole: bool = False, place: Place = HERE, **unet_options: Any) -> DiffusersModel:
    """The published architecture of the UNet with random weights, and of the decoder if ``whole``; the rest is tiny."""
    config = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64, **unet_options}
    tokenizer = vocabularies.clip()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=_decoder(place, 512) if whole else autoencoder(4),
        text_encoder=clip_encoder(tokenizer, width=config["cross_attention_dim"]),
        tokenizer=tokenizer,
        unet=place(diffusers.UNet2DConditionModel, **config),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return DiffusersModel(pipeline, STABLE_DIFFUSION)


def stable_diffusion_xl(place: Place = HERE) -> Any:
    """A pipeline with the published UNet and decoder; the text encoders have the published widths and two layers."""
    first, second = vocabularies.clip(), vocabularies.clip()
    unet = place(
        diffusers.UNet2DConditionModel,
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=_decoder(place, 1024),
        text_encoder=clip_encoder(first, width=768),
        text_encoder_2=clip_encoder(second, projected=True, width=1280),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
    )


def _decoder(place: Place, size: int, **options: Any) -> diffusers.AutoencoderKL:
    return place(
        diffusers.AutoencoderKL,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=size,
        **options,
    )


def flux_like(*, whole: bool = False, place: Place = HERE, **options: Any) -> DiffusersModel:
    """FLUX.1's blocks at their published width, one double and two single ones, with random weights; all if ``whole``."""
    config = {
        "num_layers": 19 if whole else 1,
        "num_single_layers": 38 if whole else 2,
        "guidance_embeds": whole,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        **options,
    }
    unquantised = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1}
    clip, t5 = vocabularies.clip(), vocabularies.t5()
    pipeline = diffusers.FluxPipeline(
        scheduler=SHIFTING,
        vae=_decoder(place, 1024, latent_channels=16, **unquantised)
        if whole
        else autoencoder(16, quantised=False, shift_factor=0.1),
        text_encoder=clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
        transformer=place(diffusers.FluxTransformer2DModel, **config),
    )
    return DiffusersModel(pipeline, FLUX)
