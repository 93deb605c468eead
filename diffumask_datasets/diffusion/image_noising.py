"""Feeds a given image to the denoiser of a pipeline, noised to chosen timesteps."""

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

__all__ = ["feed_image", "latents_of", "noised"]


class _FixedTimesteps:
    """A scheduler of given training timesteps that leaves the sample as it is; otherwise like ``own``."""

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, own: Any, timesteps: Sequence[int]) -> None:
        self._own = own
        self._requested = list(timesteps)
        self.timesteps = torch.empty(0)
        self.sigmas = torch.empty(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    # Pipelines look at the signature to know which schedules are supported.
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        **options: Any,
    ) -> None:
        self.timesteps = torch.tensor(
            self._requested, device=device, dtype=torch.float32 if _flows(self._own) else None
        )
        self.sigmas = self.timesteps / self._own.config.num_train_timesteps

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Every step is alike."""

    def scale_model_input(self, sample: Any, timestep: Any = None) -> Any:
        return sample

    def step(self, model_output: Any, timestep: Any, sample: Any, return_dict: bool = True) -> Any:
        return (sample, sample)


@torch.no_grad()
def latents_of(pipeline: Any, image: npt.NDArray[np.uint8]) -> torch.Tensor:
    """The latents (1, channels, height, width) of an image, uint8 (height, width, 3), scaled as the denoiser expects them.

    Raises:
        ModelError: an autoencoder whose scaling is not known.
    """
    vae = pipeline.vae
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # (height, width, 3) → (1, 3, height, width)
    if hasattr(vae.config, "temperal_downsample"):
        pixels = pixels[:, :, None]  # an autoencoder of videos: one frame
    with _wide_enough(vae):
        encoded = vae.encode(pixels.to(vae.device, vae.dtype) / 127.5 - 1)
    latents: torch.Tensor = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latent
    latents = latents.flatten(2, 3) if latents.ndim == 5 else latents
    if hasattr(vae, "bn"):
        latents = pipeline._patchify_latents(latents)
    shift, factor = _scaling(vae, latents)
    scaled: torch.Tensor = (latents - shift) * factor
    return scaled


def _scaling(vae: Any, latents: torch.Tensor) -> tuple[Any, Any]:
    """(shift, factor): a denoiser expects (latents - shift) * factor."""
    config, factor = vae.config, getattr(vae.config, "scaling_factor", None)
    if hasattr(vae, "bn"):
        mean, std = vae.bn.running_mean, (vae.bn.running_var + config.batch_norm_eps).sqrt()
    elif getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        mean, std = torch.tensor(config.latents_mean), torch.tensor(config.latents_std)
    elif factor is not None:
        return getattr(config, "shift_factor", None) or 0.0, float(factor)
    else:
        raise ModelError(
            f"the latents of a {type(vae).__name__} are scaled in an unknown way: this model reads no images"
        )
    return mean.view(1, -1, 1, 1).to(latents), float(factor or 1) / std.view(1, -1, 1, 1).to(latents)


def noised(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timestep: int) -> torch.Tensor:
    """Adds the noise of one training timestep in the way in which the model was trained.

    Flow matching walks in a straight line; all others take DDPM's noise, whatever the sampler: others rescale latents.

    Args:
        scheduler: That of the pipeline.
        latents: Those of the image.
        noise: Of the same shape.
        timestep: The training timestep.

    Returns:
        The noisy latents.
    """
    if _flows(scheduler):
        share = timestep / float(scheduler.config.num_train_timesteps)
        return latents * (1 - share) + noise * share
    steps = torch.tensor([timestep], device=latents.device)
    mixed: torch.Tensor = DDPMScheduler.from_config(scheduler.config).add_noise(latents, noise, steps)
    return mixed


@contextmanager
def feed_image(
    pipeline: Any, denoiser: nn.Module, latents: torch.Tensor, *, timesteps: Sequence[int], seed: int
) -> Iterator[None]:
    """Within the block ``pipeline`` runs at ``timesteps``, and its denoiser sees ``latents`` noised to each of them.

    Args:
        pipeline: Its scheduler is replaced.
        denoiser: The network whose input is replaced.
        latents: What :func:`latents_of` gave.
        timesteps: Training timesteps, in the order in which they are visited.
        seed: Decides the noise, which is the same at all timesteps.

    Returns:
        A context.

    Raises:
        ModelError: the denoiser takes latents in an unknown form.
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
        pipeline.scheduler = _FixedTimesteps(own, timesteps)
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
        # Either the latents alone, or with their shape.
        only_latents = len(inspect.signature(pipeline._pack_latents).parameters) == 1
        latents = pipeline._pack_latents(latents, *() if only_latents else latents.shape)
    if not torch.is_tensor(image) or image.shape[1:] != latents.shape[1:]:
        raise ModelError(
            f"a {type(pipeline).__name__} takes latents in an unknown form, so it reads no images; take another model, or "
            "give its family the method observe of diffumask_datasets.diffusion.protocol.Observer"
        )
    return latents.to(image).expand(image.shape)


def _flows(scheduler: Any) -> bool:
    return "FlowMatch" in type(scheduler).__name__ or bool(scheduler.config.get("use_flow_sigmas"))
