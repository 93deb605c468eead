"""The image-to-image form of a pipeline: the same parts, begun from a given image instead of from noise."""

from __future__ import annotations

import inspect
import math
from typing import Any

import diffusers
import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ModelError
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["from_image", "image_to_image"]


def image_to_image(pipeline: Any) -> Any:
    """The pipeline of diffusers that paints over an image with the parts of ``pipeline``; none of them is copied.

    Raises:
        ModelError: diffusers has none for it.
    """
    own = type(pipeline).__name__
    name = own.replace("Pipeline", "Img2ImgPipeline")
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise ModelError(
            f"a {own} cannot paint over an image: diffusers {diffusers.__version__} has no {name}; take a model whose "
            "pipeline has that form (docs/guides/dense.md)"
        )
    known = {**pipeline.config, **pipeline.components}
    wanted = inspect.signature(kind.__init__).parameters
    return kind(**{part: known[part] for part in wanted if part in known})


def from_image(image: npt.NDArray[np.uint8], pipeline: Any, recipe: Recipe, *, strength: float) -> dict[str, Any]:
    """Gives the arguments of an image-to-image pipeline that starts from a given image.

    Args:
        image: uint8 (height, width, 3).
        pipeline: What :func:`image_to_image` gave.
        recipe: The number of steps of a whole generation.
        strength: The share of them that is taken, in (0, 1].

    Returns:
        Arguments of its call; height and width are among them where it does not take them from the image.
    """
    height, width = image.shape[:2]
    takes = inspect.signature(type(pipeline).__call__).parameters
    size = {name: side for name, side in (("height", height), ("width", width)) if name in takes}
    # At least one step is taken, or the image would come back as it was.
    steps = max(recipe.num_inference_steps, math.ceil(1 / strength))
    return {"image": [Image.fromarray(image)], "strength": strength, "num_inference_steps": steps, **size}
