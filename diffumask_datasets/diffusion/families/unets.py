"""The cross-attention of a ``UNet2DConditionModel``, level by level."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.diffusion.unet_layers import attention_layers

__all__ = ["UNetLayers"]


class UNetLayers:
    """Finds where image attends to text: every level of the UNet halves the grid."""

    def __call__(self, pipeline: Any, denoiser: Any, height: int, width: int) -> dict[str, Grid]:
        """Name → (height, width) in tokens for an image of ``height`` × ``width`` pixels."""
        scale = int(pipeline.vae_scale_factor)
        return attention_layers(denoiser, height // scale, width // scale, cross=True)

    def unit(self, pipeline: Any, denoiser: Any) -> int:
        """Pixels that a side must be a multiple of."""
        return int(pipeline.vae_scale_factor) << (len(denoiser.config.block_out_channels) - 1)
