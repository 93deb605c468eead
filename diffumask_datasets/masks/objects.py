"""From an instance mask to the objects of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks import rle
from diffumask_datasets.sample import ObjectAnnotation

__all__ = ["describe_objects"]


def describe_objects(
    instances: npt.NDArray[np.integer[Any]], *, categories: Sequence[int], scores: Sequence[float]
) -> tuple[ObjectAnnotation, ...]:
    """Describes the objects of an instance mask. An instance without a pixel is left out.

    Args:
        instances: (height, width), numbered from 1.
        categories: The class id of each.
        scores: The score of each.

    Returns:
        The objects.
    """
    encoded = rle.encode_instances(instances, len(categories))
    return tuple(
        ObjectAnnotation(
            instance_id=number,
            category=category,
            bbox_xywh=rle.bbox_xywh(segmentation),
            area=rle.area(segmentation),
            segmentation=segmentation,
            score=score,
        )
        for number, (segmentation, category, score) in enumerate(zip(encoded, categories, scores, strict=True), start=1)
        if rle.area(segmentation)
    )
