"""A small Stable Diffusion: text encoder and UNet, trained to predict v."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from examples.small_model.denoiser import draw_times
from examples.small_model.grounding import NOISIEST, Grounding
from examples.small_model.training import mixed_precision

__all__ = ["UNetDenoiser"]

GROUNDING = 1.0
"""How much telling classes apart counts beside denoising."""

WIDTHS = {"tiny": 16, "compact": 64, "small": 128, "medium": 256}
"""Channels at every resolution; ``small`` has 10 million parameters, and is the shipped model, ``compact`` 3 million."""


class UNetDenoiser(nn.Module):
    """Text encoder and UNet, of latents with ``channels`` channels and sides of ``side``."""

    def __init__(self, text: CLIPTextModel, *, size: str, channels: int, side: int) -> None:
        super().__init__()
        width = WIDTHS[size]
        self.text_encoder = text
        self.unet = UNet2DConditionModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            down_block_types=("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3,
            block_out_channels=(width,) * 3,
            layers_per_block=1,
            cross_attention_dim=text.config.hidden_size,
            attention_head_dim=4,
            norm_num_groups=16,
        ).to(memory_format=torch.channels_last)
        self.scheduler = build_scheduler()
        self._grounding: Grounding | None = None

    def ground(self, classes: Sequence[tuple[str, ...]], tokenizer: CLIPTokenizer) -> None:
        """From here on the loss also teaches attention to tell classes apart, each called by its words."""
        self._grounding = Grounding(classes, tokenizer, self.unet)

    def prepare(self, device: torch.device) -> None:
        """Moves the network to ``device``, with the attention that trains fastest there."""
        self.to(device)
        if device.type == "cpu":
            # Torch's fused attention takes a third of a step on the way back; this takes half as long in all.
            self.unet.set_attn_processor(AttnProcessor())

    def loss(
        self, latents: Tensor, tokens: Tensor, generator: torch.Generator, *, words_only: float, withheld: Tensor
    ) -> Tensor:
        """Mean squared error of the predicted v (Salimans & Ho 2022); see :class:`Denoiser`."""
        device = latents.device
        times = (draw_times(len(latents), generator) * 1000).long().clamp(0, 999).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        noisy = self.scheduler.add_noise(latents, noise, times).contiguous(memory_format=torch.channels_last)
        end = self.text_encoder.config.eos_token_id
        grounding = self._grounding if withheld.any() else None
        given = tokens
        if grounding is not None:
            given = torch.where(withheld[:, None], grounding.ask(generator).to(device), tokens)
        visible = (given != end) | (torch.rand(len(tokens), 1, generator=generator) >= words_only).to(device)
        with mixed_precision(device):
            hidden = self.text_encoder(given).last_hidden_state
            predicted = self.unet(noisy, times, hidden, encoder_attention_mask=visible).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), self.scheduler.get_velocity(latents, noise, times))
        if grounding is None:
            return loss
        named = grounding.present(tokens) & (withheld & (times <= NOISIEST))[:, None]
        if not named.any():
            return loss
        words = hidden[int(named.any(dim=1).float().argmax())]
        return loss + GROUNDING * grounding.loss(words, named)

    def pipeline(self, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
        """An ordinary Stable Diffusion pipeline, without safety checker; UniPC does in 8 steps what DDIM does in 20."""
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=self.text_encoder,
            tokenizer=tokenizer,
            unet=self.unet,
            scheduler=UniPCMultistepScheduler.from_config(self.scheduler.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def build_scheduler() -> DDIMScheduler:
    """v-prediction on the linear schedule (Ho et al. 2020), trailing steps (Lin et al. 2023).

    What a caption decides (class, colour, place) shows through noise until the signal-to-noise ratio falls to about
    0.05: the linear schedule spends 30 % of its steps below that and above 0.001, the squared-cosine one 12 %.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
