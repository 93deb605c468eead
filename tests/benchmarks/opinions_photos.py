"""A promptable segmenter against DenseCRF on photographs with human masks, their attention simulated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.recipes.refinement_settings import SamRefinement
from tests.benchmarks.photos_data import outlined_photos
from tests.benchmarks.photos_refine import EVERY_PIXEL, objects
from tests.benchmarks.photos_simulation import Seen


def photo_figures(methods: Mapping[str, SamRefinement], *, quick: bool) -> dict[str, float]:
    """Mean IoU of DenseCRF and of other methods over the objects of every third photo of the reported half.

    All take the γ that is chosen for DenseCRF.
    """
    photos = outlined_photos(odd=True)[::3]
    ious = [_ious(item, methods) for item in objects(photos[: 2 if quick else None])]
    means = np.mean(ious, axis=0).tolist()
    names = [f"iou_{method}_photos" for method in ("densecrf", *methods)]
    return {"photo_objects": len(ious), **dict(zip(names, means, strict=True))}


def _ious(item: Seen, methods: Mapping[str, SamRefinement]) -> list[float]:
    (truth,) = item.truth.values()
    masks = make_masks(item.image, item.heat, class_ids=[1], settings=EVERY_PIXEL)
    same = {"threshold": masks.thresholds[0], "split_touching": False}
    settings = [EVERY_PIXEL.model_copy(update={**same, "refinement": sam}) for sam in methods.values()]
    others = [make_masks(item.image, item.heat, class_ids=[1], settings=one) for one in settings]
    return [iou(made.semantic == 1, truth) for made in (masks, *others)]
