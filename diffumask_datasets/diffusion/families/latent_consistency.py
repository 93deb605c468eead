"""Latent consistency models: Stable Diffusion's UNet in a few steps, guidance as an input."""

from __future__ import annotations

from diffumask_datasets.diffusion.families.unets import UNetLayers
from diffumask_datasets.diffusion.family import Defaults, Family, guidance_alone
from diffumask_datasets.diffusion.text import Text

__all__ = ["LATENT_CONSISTENCY"]

LATENT_CONSISTENCY = Family(
    name="LCM",
    defaults=Defaults(4, 8.5),
    pipelines=("LatentConsistencyModelPipeline",),
    denoiser="unet",
    layers=UNetLayers(),
    self_attention=UNetLayers(cross=False),
    text=Text(),
    arguments=guidance_alone,
    dtype="float16",
)
