"""A given image in the place of what a pipeline paints: noised to chosen timesteps and handed to the denoiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler
from torch import nn

from diffumask_datasets.errors import ModelError

__all__ = ["latents_of", "noised", "shown"]


class _Visits:
    """A scheduler that visits given training timesteps and leaves the sample as it is; else as ``own``."""

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, own: Any, timesteps: Sequence[int]) -> None:
        self._own = own
        self._wanted = list(timesteps)
        self.timesteps = torch.empty(0)
        self.sigmas = torch.empty(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    # Pipelines look at the signature to know which schedules may be asked for.
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        **options: Any,
    ) -> None:
        self.timesteps = torch.tensor(self._wanted, device=device, dtype=torch.float32 if _flows(self._own) else None)
        self.sigmas = self.timesteps / self._own.config.num_train_timesteps

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Every step is alike."""

    def scale_model_input(self, sample: Any, timestep: Any = None) -> Any:
        return sample

    def step(self, model_output: Any, timestep: Any, sample: Any, return_dict: bool = True) -> Any:
        return (sample, sample)


@torch.no_grad()
def latents_of(vae: Any, image: npt.NDArray[np.uint8]) -> torch.Tensor:
    """The latents (1, channels, height, width) of an image, uint8 (height, width, 3), as a denoiser knows them.

    Raises:
        ModelError: an autoencoder whose latents have another form.
    """
    factor = getattr(vae.config, "scaling_factor", None)
    if factor is None:
        raise ModelError(f"a {type(vae).__name__} has latents of its own form: this model cannot be shown an image")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # (height, width, 3) → (1, 3, height, width)
    with _wide_enough(vae):
        encoded = vae.encode(pixels.to(vae.device, vae.dtype) / 127.5 - 1)
    latents: torch.Tensor = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latent
    return (latents - (getattr(vae.config, "shift_factor", None) or 0.0)) * float(factor)


def noised(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: int) -> torch.Tensor:
    """``latents`` with the noise of one training timestep, in the way in which the model was trained.

    Flow matching walks in a straight line; all others take DDPM's noise, whatever the sampler: others rescale latents.
    """
    if _flows(scheduler):
        share = timestep / float(scheduler.config.num_train_timesteps)
        return latents * (1 - share) + noise * share
    steps = torch.tensor([timestep], device=latents.device)
    mixed: torch.Tensor = DDPMScheduler.from_config(scheduler.config).add_noise(latents, noise, steps)
    return mixed


@contextmanager
def shown(
    pipeline: Any, denoiser: nn.Module, latents: torch.Tensor, *, timesteps: Sequence[int], seed: int
) -> Iterator[None]:
    """Within the block ``pipeline`` visits ``timesteps``, and its denoiser sees ``latents`` noised to each of them.

    Raises:
        ModelError: the denoiser takes images in a form that is not known.
    """
    own, number = pipeline.scheduler, 0
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents)
    signature = inspect.signature(type(denoiser).forward)
    image_argument = list(signature.parameters)[1]

    def replace_image(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal number
        given = signature.bind(module, *args, **kwargs).arguments
        mixed = noised(own, latents, noise, timesteps[min(number, len(timesteps) - 1)])
        number += 1
        mixed = _as_taken(pipeline, mixed, given[image_argument])
        if args:
            return (mixed, *args[1:]), kwargs
        return args, {**kwargs, image_argument: mixed}

    with ExitStack() as restore:
        restore.callback(setattr, pipeline, "scheduler", own)
        pipeline.scheduler = _Visits(own, timesteps)
        restore.callback(denoiser.register_forward_pre_hook(replace_image, with_kwargs=True).remove)
        yield


@contextmanager
def _wide_enough(vae: Any) -> Iterator[None]:
    """SDXL's autoencoder overflows in half precision."""
    overflows = vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
    if overflows:
        vae.to(torch.float32)
    try:
        yield
    finally:
        if overflows:
            vae.to(torch.float16)


def _as_taken(pipeline: Any, latents: torch.Tensor, image: Any) -> Any:
    """``latents`` in the form of ``image``, which the pipeline would have given to its denoiser."""
    if isinstance(image, list) and all(part.shape == latents[0].unsqueeze(1).shape for part in image):
        return [latents[0].unsqueeze(1).to(part) for part in image]  # each row (channels, frames, height, width)
    if torch.is_tensor(image) and image.shape[1:] != latents.shape[1:] and hasattr(pipeline, "_pack_latents"):
        packing = inspect.signature(pipeline._pack_latents).parameters
        if len(packing) == 5:
            latents = pipeline._pack_latents(latents, *latents.shape)
    if not torch.is_tensor(image) or image.shape[1:] != latents.shape[1:]:
        raise ModelError(
            f"a {type(pipeline).__name__} takes images in a form of its own, so it cannot be shown one; "
            "take another model, or give its family the method observe of diffumask_datasets.diffusion.protocol.Observer"
        )
    return latents.to(image).expand(image.shape)


def _flows(scheduler: Any) -> bool:
    return "FlowMatch" in type(scheduler).__name__ or bool(scheduler.config.get("use_flow_sigmas"))
