"""Tiny transformers in which text and image attend to each other in one sequence; those of FLUX are in ``flux.py``."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import (
    HEADS,
    LLM,
    SHIFTING,
    WIDTH,
    autoencoder,
    clip_encoder,
    gemma_encoder,
    t5_encoder,
)


def sd3(**options: Any) -> Any:
    clips, t5 = [vocabularies.clip(), vocabularies.clip()], vocabularies.t5()
    transformer = diffusers.SD3Transformer2DModel(
        **HEADS,
        sample_size=8,
        num_layers=2,
        in_channels=4,
        out_channels=4,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
        **options,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(4, quantised=False, shift_factor=0.06),
        text_encoder=clip_encoder(clips[0], projected=True, width=16),
        tokenizer=clips[0],
        text_encoder_2=clip_encoder(clips[1], projected=True, width=16),
        tokenizer_2=clips[1],
        text_encoder_3=t5_encoder(t5),
        tokenizer_3=t5,
    )


def sd35() -> Any:
    return sd3(dual_attention_layers=(0,), qk_norm="rms_norm")


def lumina2() -> Any:
    tokenizer = vocabularies.gemma()
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=WIDTH,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(300, 32, 32),
        cap_feat_dim=WIDTH,
    )
    return diffusers.Lumina2Pipeline(
        tokenizer=tokenizer,
        text_encoder=gemma_encoder(tokenizer),
        vae=autoencoder(4, quantised=False, shift_factor=0.06),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
    )


def qwen_image() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = vocabularies.qwen()
    text = {**LLM, "vocab_size": len(tokenizer), "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    transformer = diffusers.QwenImageTransformer2DModel(
        **HEADS, in_channels=16, out_channels=4, num_layers=2, joint_attention_dim=WIDTH, axes_dims_rope=(4, 6, 6)
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return diffusers.QwenImagePipeline(
        scheduler=SHIFTING,
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def z_image() -> Any:
    from transformers import Qwen3Config, Qwen3Model

    tokenizer = vocabularies.qwen()
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=WIDTH,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 32, 32],
    )
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(token)  # the class leaves its memory as it finds it
    return diffusers.ZImagePipeline(
        scheduler=SHIFTING,
        vae=autoencoder(4, quantised=False, shift_factor=0.06),
        text_encoder=Qwen3Model(Qwen3Config(vocab_size=len(tokenizer), **LLM)),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def cogview4() -> Any:
    from transformers import GlmConfig, GlmModel

    tokenizer = vocabularies.glm()
    transformer = diffusers.CogView4Transformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        text_embed_dim=WIDTH,
        time_embed_dim=8,
        condition_dim=4,
        sample_size=8,
        rope_axes_dim=(8, 8),
    )
    return diffusers.CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=GlmModel(GlmConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **LLM)),
        vae=autoencoder(4),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
    )


def aura_flow() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    tokenizer = vocabularies.llama()
    config = UMT5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
    transformer = diffusers.AuraFlowTransformer2DModel(
        **HEADS,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pos_embed_max_size=256,
    )
    return diffusers.AuraFlowPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(config),
        vae=autoencoder(4),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )
