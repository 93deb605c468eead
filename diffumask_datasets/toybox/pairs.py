"""All that training may see of the drawn world: an image and what is written under it.

The shipped model's masks come from its attention alone, so nothing but this pair enters its training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffumask_datasets.toybox.scene import render_with_captions


def image_and_captions(
    seed: int, *, size: tuple[int, int] = (128, 128), split: str = "train", phrasings: int = 4
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Scene ``seed`` as (image uint8 (height, width, 3), ``phrasings`` captions that all hold for it)."""
    scene, captions = render_with_captions(seed, size=size, split=split, phrasings=phrasings)
    return scene.image, captions
