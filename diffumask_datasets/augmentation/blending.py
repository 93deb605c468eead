"""How a cut-out meets the image it is pasted on: soft edges, light and sharpness of the surroundings."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

__all__ = ["Blend", "blended"]

Blend = Literal["hard", "soft", "matched"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

LIGHT = 0.3
"""How far the mean light of a cut-out moves towards that of its surroundings: all the way, and a white dog turns black."""

FEATHER = 0.7
"""Standard deviation in pixels of the blur of an edge: about what a lens does."""

MOST_BLUR = 1.5
"""Standard deviation in pixels, at most, by which a cut-out sharper than its surroundings is blurred."""


def blended(ground: Pixels, patch: Pixels, alpha: Pixels, *, blend: Blend = "soft") -> Pixels:
    """Gives the pixels of a cut-out laid over those of a background.

    Args:
        ground: uint8 (height, width, 3).
        patch: The cut-out, of the same shape.
        alpha: Its opacity, uint8 (height, width).
        blend: ``"hard"`` takes each pixel from one of the two; ``"soft"`` mixes them along the edge; ``"matched"`` also
            moves light and sharpness of the cut-out towards those of the ground.

    Returns:
        uint8 (height, width, 3).
    """
    mask = alpha >= 128
    if blend == "hard":
        return np.where(mask[..., None], patch, ground)
    if blend == "matched" and mask.any() and not mask.all():
        patch = _matched(patch, ground, mask)
    weight = Image.fromarray(alpha).filter(ImageFilter.GaussianBlur(FEATHER))
    return np.asarray(Image.composite(Image.fromarray(patch), Image.fromarray(np.ascontiguousarray(ground)), weight))


def _matched(patch: Pixels, ground: Pixels, mask: Mask) -> Pixels:
    """The patch, blurred where it is sharper than the ground around the mask, and moved towards its light."""
    above, below = _grey(patch), _grey(ground)
    ratio = _sharpness(above, mask) / max(_sharpness(below, ~mask), 1e-3)
    if ratio > 1:
        # A blur of standard deviation s leaves about 1 / (1 + 2 s²) of the finest detail.
        blur = ImageFilter.GaussianBlur(min(MOST_BLUR, float(np.sqrt((ratio - 1) / 2))))
        # What surrounded the object in its own image must not bleed into it.
        filled = np.where(mask[..., None], patch, patch[mask].mean(axis=0).astype(np.uint8))
        patch = np.asarray(Image.fromarray(filled).filter(blur))
    light = LIGHT * (float(below[~mask].mean()) - float(above[mask].mean()))
    table = np.clip(np.rint(np.arange(256) + light), 0, 255).astype(np.uint8)
    lit: Pixels = table[patch]
    return lit


def _grey(pixels: Pixels) -> npt.NDArray[np.int16]:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L")).astype(np.int16)


def _sharpness(grey: npt.NDArray[np.int16], mask: Mask) -> float:
    """Mean difference of neighbours within the mask, down the image: that across it is much the same."""
    differences = np.abs(np.diff(grey, axis=0))[mask[1:] & mask[:-1]]
    return float(differences.mean()) if differences.size else 0.0
