"""From a model's floating-point images to bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ModelError

__all__ = ["to_uint8"]


def to_uint8(images: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Rounds (batch, height, width, 3) in [0, 1] to uint8.

    Raises:
        ModelError: a value is NaN or infinite.
    """
    broken = [row for row, image in enumerate(images) if not np.isfinite(image).all()]
    if broken:
        raise ModelError(
            f"the model generated NaN in {len(broken)} of {len(images)} images; "
            "try dtype='float32', another guidance_scale or another checkpoint"
        )
    pixels: npt.NDArray[np.uint8] = np.rint(images.clip(0, 1) * 255).astype(np.uint8)
    return pixels
