"""Masks are made at a bounded size: attention is coarse, and refining twelve megapixels would take minutes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import sparse

from diffumask_datasets.masks.unary import best_labels

__all__ = ["WORKING_SIDE", "enlarge", "enlarged_labels", "shrink_image", "shrink_maps", "working_size"]

WORKING_SIDE = 384
"""Images of more than about this many pixels squared are refined at that size; smaller ones at their own.

On drawn scenes of 512 x 512 pixels this gives an IoU of 0.991 in two thirds of the time that 512 takes for 0.993; 256 gives
0.988."""


def working_size(height: int, width: int, *, side: int = WORKING_SIDE) -> tuple[int, int]:
    """Gives the size at which masks are made, in the same proportions.

    Args:
        height: Height of the image.
        width: Width of the image.
        side: The size has at most about as many pixels as a square of this side.

    Returns:
        Height and width.
    """
    scale = min(1.0, side / float(np.sqrt(height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink_image(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """An image, uint8 (height, width, 3), at ``size`` (height, width), by area mean; itself where it has that size."""
    if image.shape[:2] == size:
        return image
    # A channel at a time, so that memory does not hold a large image in float64.
    channels = [_area_mean(image[..., channel], size).round() for channel in range(image.shape[2])]
    return np.stack(channels, axis=-1).astype(np.uint8)


def shrink_maps(maps: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Maps, float32 (classes, height, width), at ``size`` (height, width), by area mean; themselves where they have it."""
    if maps.shape[1:] == size:
        return maps
    # A mean may leave the range by a rounding error.
    return np.stack([np.clip(_area_mean(one, size), one.min(), one.max()) for one in maps]).astype(np.float32)


def enlarge(values: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Values, float32 (height, width), at ``size`` (height, width), bilinear; themselves where they have that size."""
    if values.shape == size:
        return values
    height, width = size
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))


def enlarged_labels(probabilities: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.intp]:
    """The likeliest label of each pixel of ``size`` (height, width), of probabilities (labels, any height, any width).

    One label at a time, so that memory does not grow with their number.
    """
    return best_labels(enlarge(one, size) for one in probabilities)


def _area_mean(values: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Values (height, width) at a smaller ``size`` (height, width): the mean over the area of each new pixel."""
    height, width = (_area_weights(old, new) for old, new in zip(values.shape, size, strict=True))
    return np.asarray((width @ (height @ values).T).T)


@functools.lru_cache(maxsize=16)
def _area_weights(old: int, new: int) -> Any:
    """The share of each of ``old`` pixels in each of ``new`` ones, sparse (new, old); rows sum to 1."""
    edges = np.linspace(0, old, new + 1)
    first = np.floor(edges[:-1]).astype(np.intp)
    most = int((np.ceil(edges[1:]) - first).max())
    pixels = np.minimum(first[:, None] + np.arange(most), old - 1)  # (new, most)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares[:, 1:][pixels[:, 1:] == pixels[:, :-1]] = 0  # beyond the last pixel
    shares = np.maximum(shares, 0)
    rows = np.repeat(np.arange(new), most)
    weights = sparse.csr_array(
        ((shares / shares.sum(axis=1, keepdims=True)).ravel(), (rows, pixels.ravel())), (new, old)
    )
    weights.eliminate_zeros()
    return weights
