"""The sample of an image and its heat maps. No model is run but an affinity net; any process can do it."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from diffumask_datasets.generation.heat_maps import HeatMaps, maps_for_masks
from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import IGNORE, Sample

__all__ = ["label_image", "warn_of_missing_masks"]

logger = logging.getLogger(__name__)


def label_image(
    image: npt.NDArray[np.uint8],
    heat_maps: HeatMaps,
    *,
    recipe: Recipe,
    sample_id: str,
    prompted: tuple[int, ...],
    prompt: str,
    seed: int,
) -> Sample:
    """Makes the masks and objects of an image.

    Args:
        image: uint8 (height, width, 3).
        heat_maps: Maps of the classes ``prompted``, in their order.
        recipe: How masks are made.
        sample_id: The id of the sample.
        prompted: The class ids that the prompt names.
        prompt: The text of the prompt.
        seed: The seed of the noise.

    Returns:
        The finished sample. A class without mask is prompted and not among its ``classes``.

    Raises:
        ModelError: a constant heat map, or an affinity net that cannot be read.
        MissingDependencyError: DenseCRF is asked for and pydensecrf is not installed.
    """
    from diffumask_datasets.models.determinism import single_thread

    with single_thread():
        heat, spread = maps_for_masks(image, heat_maps, recipe)
        masks = make_masks(image, heat, class_ids=prompted, settings=recipe, affinity_maps=spread)
    visible = {int(value) for value in np.unique(masks.semantic)} - {0, IGNORE}
    return Sample(
        sample_id=sample_id,
        image=image,
        label=masks.semantic,
        instances=masks.instances,
        objects=masks.objects,
        prompted=prompted,
        classes=tuple(sorted(visible)),
        prompt=prompt,
        seed=seed,
        model=recipe.model,
        thresholds=masks.thresholds,
        quality=masks.quality,
        heat_maps=heat_maps.kept,
        threshold_curves=masks.threshold_curves,
    )


def warn_of_missing_masks(sample_id: str, maskless: tuple[int, ...], recipe: Recipe) -> None:
    """Warns once for each class id that was prompted and has no mask.

    Args:
        sample_id: The sample.
        maskless: These class ids.
        recipe: Names the classes.
    """
    for class_id in maskless:
        name = recipe.classes[class_id - 1]
        logger.warning("%s: no mask for %r; its quality counts as 0", sample_id, name)
