"""A small Stable Diffusion 3: joint attention over image and text tokens, trained by flow matching."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from diffusers.models.attention_processor import Attention, JointAttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from diffumask_datasets.errors import ModelError
from examples.small_model.denoiser import draw_times
from examples.small_model.text import with_projection
from examples.small_model.training import mixed_precision

__all__ = ["EMPTY_TOKENS", "CollapsedAttention", "MMDiTDenoiser", "mmdit_pipeline"]

SIZES = {"tiny": (2, 2), "compact": (4, 3), "small": (6, 5), "medium": (10, 10)}
"""Layers, and heads of 32 channels; ``small`` has 6 million parameters."""

HEAD = 32
EMPTY_TOKENS = 256
"""Where a pipeline has no T5, diffusers puts as many zeros in the place of its tokens."""


class CollapsedAttention:
    """Joint attention, image first, with a bias (N, 1, 1, keys) added to the logits of each key.

    A key of bias log n weighs as much as n equal ones: so one token stands for all ``EMPTY_TOKENS``, which stay equal
    through all layers, at a fraction of the cost.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
        *,
        key_bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Attention's outputs for image and text tokens."""
        image = [attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)]
        text = [project(encoder_hidden_states) for project in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)]
        image, text = ([_by_head(part, attn.heads) for part in parts] for parts in (image, text))
        image[:2] = attn.norm_q(image[0]), attn.norm_k(image[1])
        text[:2] = attn.norm_added_q(text[0]), attn.norm_added_k(text[1])
        query, key, value = (torch.cat(parts, dim=2) for parts in zip(image, text, strict=True))
        bias = key_bias.to(query.dtype).expand(-1, 1, query.shape[2], -1)
        output = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        output = output.transpose(1, 2).flatten(2)
        ours, others = output.split([hidden_states.shape[1], encoder_hidden_states.shape[1]], dim=1)
        return attn.to_out[1](attn.to_out[0](ours)), others if attn.context_pre_only else attn.to_add_out(others)


def _by_head(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(2, (heads, -1)).transpose(1, 2)


class MMDiTDenoiser(nn.Module):
    """Text encoder and transformer, of latents with ``channels`` channels and sides of ``side``; a token is one latent."""

    def __init__(self, text: CLIPTextModel, *, size: str, channels: int, side: int) -> None:
        super().__init__()
        layers, heads = SIZES[size]
        frozen = not next(text.parameters()).requires_grad
        self.text_encoder = with_projection(text).requires_grad_(not frozen)
        width = text.config.hidden_size
        self.transformer = SD3Transformer2DModel(
            sample_size=side,
            patch_size=1,
            in_channels=channels,
            out_channels=channels,
            num_layers=layers,
            attention_head_dim=HEAD,
            num_attention_heads=heads,
            joint_attention_dim=2 * width,
            caption_projection_dim=heads * HEAD,
            pooled_projection_dim=2 * width,
            pos_embed_max_size=side,
            qk_norm="rms_norm",
        )
        _start_silent(self.transformer)

    def prepare(self, device: torch.device) -> None:
        """Moves the network to ``device``, with the attention of training."""
        self.to(device)
        self.transformer.set_attn_processor(CollapsedAttention())

    def ground(self, classes: Sequence[tuple[str, ...]], tokenizer: CLIPTokenizer) -> None:
        """See :class:`Denoiser`; its words attend to each other and to places at once, which was not tried."""
        raise ModelError("only a UNet's attention is taught to tell classes apart: take --kind unet")

    def loss(
        self, latents: Tensor, tokens: Tensor, generator: torch.Generator, *, words_only: float, withheld: Tensor
    ) -> Tensor:
        """Mean squared error of the predicted flow (Lipman et al. 2023); see :class:`Denoiser`."""
        device = latents.device
        times = draw_times(len(latents), generator).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        noisy = torch.lerp(latents, noise, times[:, None, None, None])
        hide = (torch.rand(len(tokens), 1, generator=generator) < words_only).to(device)
        with mixed_precision(device):
            predicted = self(noisy, times, tokens, hide)
        return nn.functional.mse_loss(predicted.float(), noise - latents)

    def forward(self, noisy: Tensor, times: Tensor, tokens: Tensor, hide: Tensor) -> Tensor:
        """The flow (N, channels, height, width) at ``times`` (N,); rows of ``hide`` (N, 1) do without end tokens and sum."""
        encoded = self.text_encoder(tokens, output_hidden_states=True)
        words, pooled = encoded.hidden_states[-2], encoded.text_embeds * ~hide
        context = torch.cat([words, words], dim=2)
        output: Tensor = self.transformer(
            noisy,
            encoder_hidden_states=torch.cat([context, torch.zeros_like(context[:, :1])], dim=1),
            pooled_projections=torch.cat([pooled, pooled], dim=1),
            timestep=times * 1000,
            joint_attention_kwargs={"key_bias": self._key_bias(noisy, tokens, hide)},
        ).sample
        return output

    def _key_bias(self, noisy: Tensor, tokens: Tensor, hide: Tensor) -> Tensor:
        bias = noisy.new_zeros(len(tokens), noisy.shape[2] * noisy.shape[3] + tokens.shape[1] + 1)
        hidden = hide & (tokens == self.text_encoder.config.eos_token_id)
        bias[:, -tokens.shape[1] - 1 : -1].masked_fill_(hidden, -math.inf)
        bias[:, -1] = math.log(EMPTY_TOKENS)
        return bias[:, None, None]

    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> StableDiffusion3Pipeline:
        """An ordinary pipeline without T5; see :func:`mmdit_pipeline`."""
        return mmdit_pipeline(self.transformer, self.text_encoder, vae, tokenizer)


def mmdit_pipeline(
    transformer: SD3Transformer2DModel,
    text_encoder: CLIPTextModelWithProjection,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
) -> StableDiffusion3Pipeline:
    """A pipeline without T5, both of whose CLIPs are the text encoder.

    diffusers itself loads it with ``text_encoder_3=None, tokenizer_3=None``, like every one without T5.

    Args:
        transformer: Denoises latents; its attention becomes that of the pipeline.
        text_encoder: See ``examples.small_model.text.with_projection``.
        vae: The autoencoder of the latents.
        tokenizer: That of the text encoder.
    """
    transformer.set_attn_processor(JointAttnProcessor2_0())
    vae.register_to_config(shift_factor=vae.config.shift_factor or 0.0)  # the pipeline adds it unasked
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=copy.deepcopy(text_encoder),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


@torch.no_grad()
def _start_silent(transformer: SD3Transformer2DModel) -> None:
    """Blocks that add nothing at first, and an output of zero (adaLN-Zero, Peebles & Xie 2023)."""
    for name, weight in transformer.named_parameters():
        if ".norm1.linear." in name or ".norm1_context.linear." in name or name.startswith(("norm_out.", "proj_out.")):
            weight.zero_()
