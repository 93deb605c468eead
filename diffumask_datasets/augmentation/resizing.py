"""Pixels at another size: pictures and soft maps smoothly, masks by the nearest pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["nearest", "smooth"]


def smooth(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resizes pixels: by area where they shrink, else linearly.

    Args:
        pixels: uint8 (any height, any width) or (…, 3).
        height: The new height.
        width: The new width.

    Returns:
        uint8 (``height``, ``width``) or (…, 3).
    """
    old_height, old_width = pixels.shape[:2]
    if (old_height, old_width) == (height, width):
        return pixels
    picture = Image.fromarray(pixels)
    if old_height % height == 0 and old_width % width == 0:
        # The same mean over whole pixels as below, several times as fast.
        return np.asarray(picture.reduce((old_width // width, old_height // height)))
    shrinks = height <= old_height and width <= old_width
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def nearest(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Resizes values such as class ids, so that no value is new.

    Args:
        values: Of the shape (any height, any width).
        height: The new height.
        width: The new width.

    Returns:
        Values of the shape (``height``, ``width``).
    """
    old_height, old_width = values.shape
    if old_height % height == 0 and old_width % width == 0:
        down, across = old_height // height, old_width // width
        return values[down // 2 :: down, across // 2 :: across]
    rows = ((np.arange(height) + 0.5) * old_height / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * old_width / width).astype(np.intp)
    chosen: npt.NDArray[Any] = values[rows].take(columns, axis=1)
    return chosen
