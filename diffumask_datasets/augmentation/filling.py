"""Fills holes of an image from what surrounds them, coarsely: for what objects are pasted over."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["filled"]

Values = npt.NDArray[np.floating[Any]]


def filled(image: npt.NDArray[np.uint8], hole: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The image, uint8 (height, width, 3), with the pixels of ``hole`` interpolated smoothly between those around it.

    Each level of a pyramid takes the mean of the pixels that are known; what is unknown comes from the level above. An image
    that is all hole becomes black.
    """
    known = (~hole).astype(np.float32)[..., None]
    smooth = _interpolated(image * known, known)
    return np.where(hole[..., None], np.clip(np.rint(smooth), 0, 255).astype(np.uint8), image)


def _interpolated(total: Values, weight: Values) -> Values:
    """``total`` / ``weight`` (height, width, 3) and (height, width, 1), smoothly continued where there is no weight."""
    mean: Values = total / np.maximum(weight, np.float32(1e-6))
    if min(weight.shape[:2]) < 2 or weight.all():
        return mean
    coarse = _interpolated(_halved(mean * np.minimum(weight, 1)), _halved(np.minimum(weight, 1)))
    trust = np.minimum(weight, 1)
    mixed: Values = mean * trust + _enlarged(coarse, weight.shape[:2]) * (1 - trust)
    return mixed


def _halved(values: Values) -> Values:
    """Sums over 2 x 2 pixels; an odd last row or column is repeated."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = padded[::2] + padded[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def _enlarged(values: Values, shape: tuple[int, ...]) -> Values:
    height, width = shape
    channels = [Image.fromarray(np.ascontiguousarray(values[..., channel])) for channel in range(values.shape[2])]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in channels], axis=2)
