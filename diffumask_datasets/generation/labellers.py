"""Who says where classes are in an image that exists already: a diffusion model's attention, or SAM 3 by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.generation.heat_maps import HeatMaps
from diffumask_datasets.generation.masks import label_image
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.quantization import quantize, soft_size
from diffumask_datasets.masks.working_size import shrink_maps
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import PLAIN
from diffumask_datasets.sample import BACKGROUND, IGNORE, Sample

__all__ = ["ATTENTION", "CONCEPTS", "Labellers", "agreement", "label_by_names"]

ATTENTION, CONCEPTS = "attention", "sam3"

PRESENT = 0.5
"""Presence from which on a class is looked for in an image."""


@dataclass(frozen=True, slots=True)
class Labellers:
    """One or two of them: the first makes the masks, and how far the second agrees is their quality.

    Attributes:
        names: ``attention``, ``sam3``, or both.
        model: The SAM 3, where it is asked.
        revision: What identifies its content.
    """

    names: tuple[str, ...] = (ATTENTION,)
    model: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, asked: str, model: str) -> Labellers:
        """Those that a text names, ``sam3`` or ``sam3,attention``, with their model as it is now.

        Raises:
            RecipeError: an unknown name, or one that comes twice.
            ModelError: the model cannot be found, or takes no texts.
        """
        names = tuple(name.strip() for name in asked.split(","))
        for name in names:
            if name not in (ATTENTION, CONCEPTS):
                near = suggestion(name, (ATTENTION, CONCEPTS))
                raise RecipeError(f"unknown labeller {name!r}{near}; expected {ATTENTION}, {CONCEPTS} or both")
        if len(set(names)) < len(names):
            raise RecipeError(f"labeller {asked!r}: each only once")
        if CONCEPTS not in names:
            return cls(names)
        from diffumask_datasets.masks.promptable import segmenter_revision

        return cls(names, model, segmenter_revision(model))

    @property
    def described(self) -> dict[str, Any]:
        """What ``recipe.yaml`` says of them; nothing where attention alone is asked."""
        if self.names == (ATTENTION,):
            return {}
        return {"labeller": ",".join(self.names), "labeller_model": self.model, "labeller_revision": self.revision}

    def recorded(self, recipe: Recipe) -> Recipe:
        """The recipe as the dataset records it: where no attention is asked, the model is the SAM 3, and not its own."""
        if ATTENTION in self.names:
            return recipe
        return recipe.model_copy(update={**dict(PLAIN), "model": self.model, "revision": self.revision})

    @property
    def identity(self) -> list[Any]:
        """What the samples depend on; empty where attention alone is asked."""
        return [] if self.names == (ATTENTION,) else [*self.names, self.revision]


def label_by_names(
    image: Pixels, classes: Sequence[str], *, labellers: Labellers, device: str | None, recipe: Recipe, **known: Any
) -> Sample:
    """Labels an image by what SAM 3 finds of each class by its name; a class that it does not see is not looked for.

    Args:
        image: uint8 (height, width, 3).
        classes: The classes to look for.
        labellers: Name the model.
        device: torch's name of the device, None for the best there is.
        recipe: How masks are made, and what classes are called.
        **known: ``sample_id``, ``prompt`` and ``seed`` of the sample.

    Returns:
        The sample; without masks, and of the quality 0, where no class is seen.

    Raises:
        ModelError: the model cannot be loaded.
    """
    # torch is loaded only where it is asked.
    from diffumask_datasets.masks.concepts import load_concept_segmenter

    segmenter = load_concept_segmenter(str(labellers.model), labellers.revision, device)
    found = segmenter.find(image, [recipe.words_of(name).terms[0] for name in classes])
    seen = [
        (recipe.classes.index(name) + 1, concept.probabilities)
        for name, concept in zip(classes, found, strict=True)
        if concept.presence >= PRESENT
    ]
    size = soft_size(*image.shape[:2])
    if not seen:
        return _without_masks(image, size, recipe, model=str(labellers.model), **known)
    maps = HeatMaps(quantize(shrink_maps(np.stack([likely for _, likely in seen]), size)))
    sample = label_image(image, maps, recipe=recipe, prompted=tuple(class_id for class_id, _ in seen), **known)
    return dataclasses.replace(sample, model=str(labellers.model))


def agreement(one: Sample, other: Sample) -> float:
    """The lowest IoU of a class that either sample of an image has, where both are sure; 0 where neither has any."""
    known = (one.label != IGNORE) & (other.label != IGNORE)
    classes = {*one.classes, *other.classes}
    return min((iou((one.label == k) & known, (other.label == k) & known) for k in classes), default=0.0)


def _without_masks(image: Pixels, size: tuple[int, int], recipe: Recipe, *, model: str, **known: Any) -> Sample:
    height, width, _ = image.shape
    nothing = BACKGROUND if recipe.background else IGNORE
    return Sample(
        image=image,
        label=np.full((height, width), nothing, np.uint8),
        instances=np.zeros((height, width), np.uint16),
        objects=(),
        prompted=(),
        classes=(),
        model=model,
        thresholds=(),
        quality=0.0,
        heat_maps=np.zeros((0, *size), np.uint8),
        threshold_curves=(),
        **known,
    )
