"""Stable Diffusion XL and SDXL-Turbo: a UNet over two CLIPs whose features stand side by side, token by token."""

from __future__ import annotations

from diffumask_datasets.diffusion.families.unets import UNetLayers
from diffumask_datasets.diffusion.family import Defaults, Family
from diffumask_datasets.diffusion.text import Text

__all__ = ["STABLE_DIFFUSION_XL"]

STABLE_DIFFUSION_XL = Family(
    name="Stable Diffusion XL, SDXL-Turbo",
    defaults=Defaults(50, 5.0),
    pipelines=("StableDiffusionXLPipeline",),
    denoiser="unet",
    layers=UNetLayers(),
    self_attention=UNetLayers(cross=False),
    # Both tokenizers read alike; some checkpoints bring the second alone.
    text=Text(tokenizer="tokenizer_2"),
    dtype="float16",
)
