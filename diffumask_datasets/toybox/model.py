"""The toybox's model: a small text encoder and UNet trained together, and the pipeline they are shipped in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffumask_datasets.models.weights import load_whole
from diffumask_datasets.toybox.tokenizer import END, MAX_LENGTH, START

TEXT_WIDTH = 128

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 8,
    "out_channels": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (128, 128, 128),
    "layers_per_block": 1,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
}

TEXT_CONFIG: dict[str, Any] = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 4 * TEXT_WIDTH,
    "projection_dim": TEXT_WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
}


class ImageGenerator(nn.Module):
    """Text encoder and UNet under one roof: what the denoiser training trains, averages and saves."""

    def __init__(self, tokenizer: CLIPTokenizer, **unet_overrides: Any) -> None:
        super().__init__()
        ids = tokenizer.get_vocab()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(ids),
                bos_token_id=ids[START],
                eos_token_id=ids[END],
                pad_token_id=ids[END],
                **TEXT_CONFIG,
            )
        )
        # At the usual 0.02 one shared direction drowns the words: "car" and "tree" came out alike to four digits.
        torch.nn.init.normal_(self.text_encoder.get_input_embeddings().weight, std=1.0)
        self.unet = UNet2DConditionModel(**(UNET_CONFIG | unet_overrides)).to(memory_format=torch.channels_last)

        self._end = ids[END]

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Predicted v (N, 8, 16, 16) for noisy latents of that shape, timesteps (N,) and token ids (N, 32).

        Of the tokens, the UNet sees those that are ``visible`` (bool (N, 32)).
        """
        hidden = self.text_encoder(tokens).last_hidden_state
        output: Tensor = self.unet(noisy, timesteps, hidden, encoder_attention_mask=visible).sample
        return output

    def is_word(self, tokens: Tensor) -> Tensor:
        """Whether each of ``tokens`` stands for itself: bool, false for the end token and the padding, which is the same."""
        words: Tensor = tokens != self._end
        return words

    def load_weights(self, folder: Path) -> None:
        """Take the weights of a diffusers folder written by ``export``; raises ModelError where they do not fit."""
        place, what = folder / "text_encoder", f"the text_encoder of {folder}"
        text = load_whole(CLIPTextModel, place, what=what, dtype=torch.float32)
        unet = load_whole(
            UNet2DConditionModel, folder / "unet", what=f"the unet of {folder}", torch_dtype=torch.float32
        )
        self.text_encoder.load_state_dict(text.state_dict())
        self.unet.load_state_dict(unet.state_dict())


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


def assemble(painter: ImageGenerator, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """An ordinary Stable Diffusion pipeline of the given parts, without safety checker."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=painter.text_encoder,
        tokenizer=tokenizer,
        unet=painter.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
