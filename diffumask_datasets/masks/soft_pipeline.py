"""From kept soft maps to masks: the one way there, when a sample is made and when its mask is made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.quantization import dequantize
from diffumask_datasets.masks.working_size import shrink_image, working_size
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.recipes.settings import MaskSettings

__all__ = ["masks_of_soft_maps"]


def masks_of_soft_maps(
    image: npt.NDArray[np.uint8],
    soft_maps: npt.NDArray[np.uint8],
    *,
    class_ids: Sequence[int],
    settings: MaskSettings,
    spread_maps: npt.NDArray[np.uint8] | None = None,
) -> Masks:
    """Masks of ``image``, uint8 (height, width, 3), from soft maps (classes, any height, any width), one per class id.

    ``spread_maps`` are the same after the model's self-attention, for the threshold ``"affinity"``. With the affinity
    ``"affinitynet"`` the net spreads them here, to be thresholded or to choose γ by.

    Raises:
        As :func:`diffumask_datasets.masks.pipeline.make_masks`, and ModelError for an affinity net that cannot be read.
    """
    height, width = working_size(*image.shape[:2])
    heat_maps = dequantize(soft_maps, height=height, width=width)
    affinity_maps = None if spread_maps is None else dequantize(spread_maps, height=height, width=width)
    if settings.affinity == "affinitynet":
        affinity_maps = _spread_by_net(shrink_image(image, (height, width)), heat_maps, settings)
    if affinity_maps is not None and settings.threshold != "affinity":
        heat_maps = affinity_maps
    return make_masks(image, heat_maps, class_ids=class_ids, settings=settings, affinity_maps=affinity_maps)


def _spread_by_net(
    image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32], settings: MaskSettings
) -> npt.NDArray[np.float32]:
    # torch is loaded by those who ask for it alone.
    from diffumask_datasets.masks.affinity_net import load_affinity_net, spread_heat

    with model_lock:
        return spread_heat(load_affinity_net(Path(settings.affinity_net or "")), image, heat_maps)
