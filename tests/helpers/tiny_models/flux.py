"""Tiny transformers of the FLUX kind: double blocks, then single ones."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.helpers.tiny_models import vocabularies
from tests.helpers.tiny_models.parts import HEADS, LLM, SHIFTING, SMALL, WIDTH, autoencoder, clip_encoder, t5_encoder


def flux(*, guidance_embeds: bool = True) -> Any:
    clip, t5 = vocabularies.clip(), vocabularies.t5()
    transformer = diffusers.FluxTransformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=guidance_embeds,
    )
    return diffusers.FluxPipeline(
        scheduler=SHIFTING,
        vae=autoencoder(4, quantised=False, shift_factor=0.06),
        text_encoder=clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
        transformer=transformer,
    )


def flux_schnell() -> Any:
    pipeline = flux(guidance_embeds=False)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    return pipeline


def chroma() -> Any:
    t5 = vocabularies.t5()
    transformer = diffusers.ChromaTransformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=8,
        approximator_layers=1,
    )
    return diffusers.ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(4, quantised=False, shift_factor=0.06),
        text_encoder=t5_encoder(t5),
        tokenizer=t5,
        transformer=transformer,
    )


def flux2_parts(text_width: int) -> dict[str, Any]:
    return {
        "scheduler": SHIFTING,
        "vae": diffusers.AutoencoderKLFlux2(
            block_out_channels=(4,) * 4, norm_num_groups=2, layers_per_block=1, latent_channels=4
        ),
        "transformer": diffusers.Flux2Transformer2DModel(
            **HEADS,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            joint_attention_dim=text_width,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
        ),
    }


def flux2() -> Any:
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    tokenizer = vocabularies.mistral()
    # The pipeline reads the layers 10, 20 and 30.
    text = {**LLM, "model_type": "mistral", "vocab_size": len(tokenizer), "num_hidden_layers": 30}
    vision = {**SMALL, "model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    return diffusers.Flux2Pipeline(
        text_encoder=Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision)),
        # The tokenizer of a PixtralProcessor, which itself needs torchvision.
        tokenizer=tokenizer,
        **flux2_parts(3 * WIDTH),
    )


def flux2_klein() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = vocabularies.qwen()
    # The pipeline reads the layers 9, 18 and 27.
    config = Qwen3Config(vocab_size=len(tokenizer), **{**LLM, "num_hidden_layers": 27})
    return diffusers.Flux2KleinPipeline(
        text_encoder=Qwen3ForCausalLM(config), tokenizer=tokenizer, **flux2_parts(3 * WIDTH)
    )
