"""Tiny transformers whose image tokens attend to the text by layers of their own."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import HEADS, SMALL, WIDTH, autoencoder, gemma_encoder, t5_encoder


def pixart(name: str) -> Any:
    tokenizer = vocabularies.t5()
    transformer = diffusers.PixArtTransformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=WIDTH,
        sample_size=8,
        patch_size=2,
        caption_channels=WIDTH,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
    )
    return getattr(diffusers, name)(
        tokenizer=tokenizer,
        text_encoder=t5_encoder(tokenizer),
        vae=autoencoder(4),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )


def pixart_alpha() -> Any:
    return pixart("PixArtAlphaPipeline")


def pixart_sigma() -> Any:
    return pixart("PixArtSigmaPipeline")


def sana() -> Any:
    tokenizer = vocabularies.gemma()
    transformer = diffusers.SanaTransformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=WIDTH,
        caption_channels=WIDTH,
        sample_size=8,
    )
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(4,) * 6,
        decoder_block_out_channels=(4,) * 6,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6,
        downsample_block_type="Conv",
        upsample_block_type="interpolate",
    )
    return diffusers.SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=gemma_encoder(tokenizer),
        vae=vae,
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    )


def hunyuan_dit() -> Any:
    from transformers import BertConfig, BertModel

    bert, t5 = vocabularies.bert(), vocabularies.t5()
    transformer = diffusers.HunyuanDiT2DModel(
        **HEADS,
        sample_size=8,
        num_layers=2,
        patch_size=2,
        in_channels=4,
        hidden_size=WIDTH,
        cross_attention_dim=WIDTH,
        cross_attention_dim_t5=WIDTH,
        pooled_projection_dim=4,
        activation_fn="gelu-approximate",
    )
    return diffusers.HunyuanDiTPipeline(
        vae=autoencoder(4),
        text_encoder=BertModel(BertConfig(vocab_size=len(bert), hidden_size=WIDTH, **SMALL)),
        tokenizer=bert,
        transformer=transformer,
        scheduler=DDPMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
    )
