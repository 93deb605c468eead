"""The cross-attention of a ``UNet2DConditionModel``, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_processor import Attention

from diffumask_datasets.attention.maps import Grid

__all__ = ["UNetLayers"]


@dataclass(frozen=True, slots=True)
class UNetLayers:
    """Finds the layers where the image attends to the text or, not ``cross``, to itself. Every level halves the grid."""

    cross: bool = True

    def __call__(self, pipeline: Any, denoiser: Any, height: int, width: int) -> dict[str, Grid]:
        """Name → (height, width) in tokens for an image of ``height`` × ``width`` pixels."""
        scale = int(pipeline.vae_scale_factor)
        levels = len(denoiser.config.block_out_channels)
        layers = {}
        for name, module in denoiser.named_modules():
            if isinstance(module, Attention) and bool(module.is_cross_attention) == self.cross:
                level = _level(name, levels)
                layers[name] = (height // scale >> level, width // scale >> level)
        return layers

    def unit(self, pipeline: Any, denoiser: Any) -> int:
        """Pixels that a side must be a multiple of."""
        return int(pipeline.vae_scale_factor) << (len(denoiser.config.block_out_channels) - 1)


def _level(name: str, levels: int) -> int:
    """How often the latents were halved where a block of ``UNet2DConditionModel`` runs."""
    part, number, *_ = name.split(".")
    match part:
        case "down_blocks":
            return int(number)
        case "up_blocks":
            return levels - 1 - int(number)
        case _:
            return levels - 1
