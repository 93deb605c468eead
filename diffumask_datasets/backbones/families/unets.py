"""The cross-attention of a ``UNet2DConditionModel``, level by level."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.attention.maps import Grid

__all__ = ["UNetLayers"]


class UNetLayers:
    """Finds where image attends to text: every level of the UNet halves the grid."""

    def __call__(self, pipeline: Any, denoiser: Any, height: int, width: int) -> dict[str, Grid]:
        """Name → (height, width) in tokens for an image of ``height`` × ``width`` pixels."""
        scale, levels = int(pipeline.vae_scale_factor), len(denoiser.config.block_out_channels)
        layers = {}
        for name, module in denoiser.named_modules():
            if getattr(module, "is_cross_attention", False):
                unit = scale << _level(name, levels)
                layers[name] = (height // unit, width // unit)
        return layers

    def unit(self, pipeline: Any, denoiser: Any) -> int:
        """Pixels that a side must be a multiple of."""
        return int(pipeline.vae_scale_factor) << (len(denoiser.config.block_out_channels) - 1)


def _level(name: str, levels: int) -> int:
    """How often the latents were halved where the layer runs; the middle block is the coarsest."""
    part, number, *_ = name.split(".")
    if part == "down_blocks":
        return int(number)
    return levels - 1 - int(number) if part == "up_blocks" else levels - 1
