"""Tiny random pipelines: the real classes, schedulers and kinds of tokenizer, built from configurations."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UNet2DConditionModel,
)

from tests.backbones.tiny import vocabularies
from tests.backbones.tiny.parts import (
    LLM,
    SMALL,
    WIDTH,
    autoencoder,
    chat_glm_encoder,
    clip_encoder,
    gemma_encoder,
    t5_encoder,
)

HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
SHIFTING = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


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


def built(name: str) -> Any:
    """The pipeline ``name``, always with the same weights and without a progress bar."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = globals()[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # as from_pretrained leaves them: T5 has dropout
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
