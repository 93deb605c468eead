"""The second stage of a sample: masks from what was painted, and the encoded row. No model; any process can do it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import features_of, row_of, to_payload
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.images import GeneratedImage, single_thread
from diffumask_datasets.generation.workers import Progress, Work
from diffumask_datasets.masks.soft_pipeline import masks_of_soft_maps
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import IGNORE, Sample

__all__ = ["LabelledAttempt", "Labeller", "label_image", "label_in_process", "warn_of_missing_masks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelledAttempt:
    """One attempt at a sample, encoded for the store. ``maskless`` are the class ids prompted and not found.

    ``error`` stands in place of a payload where no masks could be made.
    """

    index: int
    quality: float
    maskless: tuple[int, ...]
    payload: bytes
    error: ModelError | None = None


class Labeller:
    """Makes the samples of one prepared recipe from what was painted."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._digest = recipe.digest
        self._features = features_of(recipe.classes, heat_maps=True, threshold_curve=True)

    def label(self, painted: GeneratedImage) -> LabelledAttempt:
        """Masks, objects, quality and the encoded row of one painted image."""
        try:
            sample = self.sample(painted)
        except ModelError as error:
            return LabelledAttempt(painted.index, 0.0, painted.prompted, b"", error)
        return LabelledAttempt(
            painted.index, sample.quality, sample.maskless, to_payload(row_of(sample), self._features)
        )

    def sample(self, painted: GeneratedImage) -> Sample:
        """The finished sample of one painted image.

        Raises:
            ModelError: its attention had no signal.
        """
        if painted.error is not None or painted.soft_maps is None:
            raise painted.error or ModelError(f"sample {painted.index} has no heat maps")
        return label_image(
            painted.image,
            painted.soft_maps,
            recipe=self._recipe,
            sample_id=f"{self._digest}-{painted.index:08d}",
            prompted=painted.prompted,
            prompt=painted.prompt,
            seed=painted.seed,
            spread_maps=painted.spread_maps,
        )


def label_in_process(recipe: Recipe) -> Work:
    """The work of a process of a :class:`WorkerPool`: :class:`GeneratedImage` in, :class:`LabelledAttempt` out."""
    labeller = Labeller(recipe)

    def work(painted: GeneratedImage, _: Progress) -> LabelledAttempt:
        return labeller.label(painted)

    return work


def label_image(
    image: npt.NDArray[np.uint8],
    soft_maps: npt.NDArray[np.uint8],
    *,
    recipe: Recipe,
    sample_id: str,
    prompted: tuple[int, ...],
    prompt: str,
    seed: int,
    spread_maps: npt.NDArray[np.uint8] | None = None,
) -> Sample:
    """The sample of a painted image and the soft maps of the class ids ``prompted``."""
    with single_thread():
        masks = masks_of_soft_maps(image, soft_maps, class_ids=prompted, settings=recipe, spread_maps=spread_maps)
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
        heat_maps=soft_maps,
        threshold_curves=masks.threshold_curves,
    )


def warn_of_missing_masks(sample_id: str, maskless: tuple[int, ...], recipe: Recipe) -> None:
    """One warning for each class id that was prompted and has no mask."""
    for class_id in maskless:
        name = recipe.classes[class_id - 1]
        logger.warning("%s: no mask for %r; its quality counts as 0", sample_id, name)
