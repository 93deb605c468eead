"""Where a ``UNet2DConditionModel`` attends, and on which grids."""

from __future__ import annotations

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from diffumask_datasets.attention.maps import Grid

__all__ = ["attention_layers"]


def attention_layers(
    unet: UNet2DConditionModel, latent_height: int, latent_width: int, *, cross: bool
) -> dict[str, Grid]:
    """Name → (height, width) in tokens of each layer where image attends to text, or (not ``cross``) to itself."""
    levels = len(unet.config.block_out_channels)
    layers = {}
    for name, module in unet.named_modules():
        if isinstance(module, Attention) and bool(module.is_cross_attention) == cross:
            level = _level(name, levels)
            layers[name] = (latent_height >> level, latent_width >> level)
    return layers


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
