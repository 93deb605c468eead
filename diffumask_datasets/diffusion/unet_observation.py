"""A given image pushed through a Stable Diffusion UNet, with all its attention written down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline

from diffumask_datasets.attention.affinity import MAX_AFFINITY_SIDE, SelfAttentionRecorder
from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.attention.contrast import sinks_of
from diffumask_datasets.attention.hooks import AttentionCall, tap_attention
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.observation import Observation, ObservingRecorder
from diffumask_datasets.diffusion.attention_processors import native_attention
from diffumask_datasets.diffusion.unet_layers import attention_layers
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.prompts.prompt import Prompt

__all__ = ["observe", "word_count"]


@torch.no_grad()
def observe(
    pipeline: StableDiffusionPipeline,
    image: npt.NDArray[np.uint8],
    prompt: Prompt,
    *,
    timesteps: Sequence[int],
    seed: int,
) -> Observation:
    """See :meth:`diffumask_datasets.diffusion.protocol.Observer.observe`."""
    columns = align_terms(prompt, pipeline.tokenizer)
    height, width = (side // pipeline.vae_scale_factor for side in image.shape[:2])
    cross = attention_layers(pipeline.unet, height, width, cross=True)
    itself = attention_layers(pipeline.unet, height, width, cross=False)
    itself = {name: grid for name, grid in itself.items() if min(grid) <= MAX_AFFINITY_SIDE}
    recorder = ObservingRecorder(cross, columns, sinks_of(columns, words=word_count(pipeline.tokenizer, prompt.text)))
    affinities: dict[tuple[Grid, int], torch.Tensor] = {}
    modules = [pipeline.unet.get_submodule(name) for name in [*cross, *itself]]
    with single_thread(), native_attention(modules):
        latents, hidden = _encoded(pipeline, image, prompt.text)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
        # The training noise of DDPM, whatever the sampler: others rescale their latents.
        scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        for timestep in timesteps:
            recorder.begin_step(timestep)
            step = torch.tensor([timestep], device=latents.device)
            found = _step(pipeline, scheduler.add_noise(latents, noise, step), step, hidden, recorder, itself)
            affinities |= {(grid, timestep): affinity.half() for grid, affinity in found.items()}
    return recorder.observation(affinities)


def word_count(tokenizer: object, text: str) -> int:
    """Tokens of ``text`` between the start and the end token, as far as the model reads."""
    ids = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids  # type: ignore[operator, attr-defined]
    return len(ids) - 2


def _encoded(
    pipeline: StableDiffusionPipeline, image: npt.NDArray[np.uint8], text: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of the image and hidden states of the text, one row each."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    scaled = pixels.to(pipeline.vae.device, pipeline.vae.dtype) / 127.5 - 1
    latents = pipeline.vae.encode(scaled).latent_dist.mean * pipeline.vae.config.scaling_factor
    hidden, _ = pipeline.encode_prompt(text, pipeline.device, 1, False)
    return latents, hidden


def _step(
    pipeline: StableDiffusionPipeline,
    noisy: torch.Tensor,
    step: torch.Tensor,
    hidden: torch.Tensor,
    recorder: ObservingRecorder,
    itself: dict[str, Grid],
) -> dict[Grid, torch.Tensor]:
    """One run of the UNet: cross-attention goes to ``recorder``, the affinity of each grid comes back."""
    affinity = SelfAttentionRecorder(itself, 1)

    def sort(call: AttentionCall) -> None:
        (affinity if call.name in itself else recorder).record(call)

    names = [*recorder.layers, *itself]
    with tap_attention({name: pipeline.unet.get_submodule(name) for name in names}, sort):
        pipeline.unet(noisy, step, encoder_hidden_states=hidden)
    return affinity.affinities()[0] if itself else {}
