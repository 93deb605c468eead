"""Stable Diffusion 1 and 2, SD-Turbo, and so the toybox: a UNet with separate cross-attention to CLIP."""

from __future__ import annotations

from diffumask_datasets.diffusion.families.unets import UNetLayers
from diffumask_datasets.diffusion.family import Family

__all__ = ["STABLE_DIFFUSION"]

STABLE_DIFFUSION = Family(
    name="Stable Diffusion 1 / 2, SD-Turbo",
    pipelines=("StableDiffusionPipeline",),
    denoiser="unet",
    layers=UNetLayers(),
    self_attention=UNetLayers(cross=False),
    dtype="float16",
)
