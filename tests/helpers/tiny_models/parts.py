"""What tiny pipelines are built of: random text encoders and autoencoders of the real classes, 32 channels wide."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.kolors import ChatGLMModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
)

WIDTH = 32
HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
SMALL = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLM = {**SMALL, "hidden_size": WIDTH, "num_key_value_heads": 1, "head_dim": 16}
SHIFTING = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


def clip_encoder(tokenizer: Any, *, projected: bool = False, width: int = WIDTH) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        projection_dim=width,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SMALL,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def t5_encoder(tokenizer: Any) -> T5EncoderModel:
    config = T5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config)


def gemma_encoder(tokenizer: Any) -> Gemma2Model:
    return Gemma2Model(Gemma2Config(vocab_size=len(tokenizer), **LLM))


def chat_glm_encoder(tokenizer: Any) -> ChatGLMModel:
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=tokenizer.vocab_size,
        hidden_size=WIDTH,
        ffn_hidden_size=32,
        kv_channels=16,
        num_attention_heads=2,
        seq_length=256,
        add_qkv_bias=True,
        multi_query_attention=True,
        multi_query_group_num=1,
        original_rope=True,
    )
    encoder = ChatGLMModel(config)
    for name, parameter in encoder.named_parameters():  # the class leaves its memory as it finds it
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
        else:
            torch.nn.init.constant_(parameter, float("norm" in name))
    return encoder


def autoencoder(latent_channels: int, *, levels: int = 4, quantised: bool = True, **options: Any) -> AutoencoderKL:
    """Shrinks each side by 2 ** (levels - 1)."""
    return AutoencoderKL(
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=2,
        layers_per_block=1,
        latent_channels=latent_channels,
        use_quant_conv=quantised,
        use_post_quant_conv=quantised,
        **options,
    )
