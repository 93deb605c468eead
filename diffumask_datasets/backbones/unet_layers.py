"""The cross-attention layers of a ``UNet2DConditionModel`` and their token grids."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.backbones.unet import _cross_attention_layers, _levels

__all__ = ["UNetLayers"]


class UNetLayers:
    """Finds where image attends to text in a UNet, level by level."""

    def __call__(self, pipeline: Any, denoiser: Any, height: int, width: int) -> dict[str, Grid]:
        """Name → (height, width) in tokens for an image of ``height`` × ``width`` pixels."""
        scale = pipeline.vae_scale_factor
        return _cross_attention_layers(denoiser, height // scale, width // scale)

    def unit(self, pipeline: Any, denoiser: Any) -> int:
        """Pixels that a side must be a multiple of."""
        return int(pipeline.vae_scale_factor) * 2 ** (_levels(denoiser) - 1)
