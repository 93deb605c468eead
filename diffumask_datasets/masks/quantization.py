"""Heat maps as they are kept: small and 8-bit. Masks are made from what is kept, so that they can be made again from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ModelError
from diffumask_datasets.sample import check_array

__all__ = ["MAX_SOFT_SIDE", "dequantize", "quantize", "soft_size"]

MAX_SOFT_SIDE = 128
"""Longer side of a kept map. Attention is no finer than a side of 64 cells; about 8 KB a class as PNG."""


def soft_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the kept maps of an image: its own, or as much smaller as :data:`MAX_SOFT_SIDE` asks."""
    scale = min(1.0, MAX_SOFT_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def quantize(heat_maps: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Heat maps (classes, height, width) in [0, 1] as uint8 of the same shape.

    Raises:
        ModelError: NaN, or numbers outside [0, 1].
    """
    if not (np.isfinite(heat_maps).all() and heat_maps.min() >= 0 and heat_maps.max() <= 1):
        raise ModelError("the heat maps hold NaN or numbers outside [0, 1]; try dtype='float32'")
    return np.round(heat_maps * 255).astype(np.uint8)


def dequantize(soft_maps: npt.NDArray[np.uint8], *, height: int, width: int) -> npt.NDArray[np.float32]:
    """Gives kept heat maps the size of an image.

    Args:
        soft_maps: uint8 (classes, any height, any width).
        height: The new height.
        width: The new width.

    Returns:
        float32 (classes, ``height``, ``width``) in [0, 1].

    Raises:
        ShapeError: Not uint8 of three dimensions.
    """
    check_array("heat_maps", soft_maps, shape=("classes", "height", "width"), dtype="uint8")
    scaled: npt.NDArray[np.float32] = soft_maps.astype(np.float32) / np.float32(255)
    if soft_maps.shape[1:] == (height, width):
        return scaled
    # Bicubic overshoots at edges.
    grown = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in scaled]
    heat_maps: npt.NDArray[np.float32] = np.clip(np.stack(grown), 0.0, 1.0).astype(np.float32)
    return heat_maps
