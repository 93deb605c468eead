"""Stable Diffusion 1 and 2, SD-Turbo, and so the toybox: a UNet with separate cross-attention to CLIP."""

from __future__ import annotations

from diffumask_datasets.diffusion.families.unets import UNetLayers
from diffumask_datasets.diffusion.family import Defaults, Family

__all__ = ["STABLE_DIFFUSION"]

STABLE_DIFFUSION = Family(
    name="Stable Diffusion 1 / 2, SD-Turbo",
    defaults=Defaults(50, 7.5),
    pipelines=("StableDiffusionPipeline",),
    denoiser="unet",
    layers=UNetLayers(),
    self_attention=UNetLayers(cross=False),
    dtype="float16",
)
