"""Which heat maps masks are made of: the one rule for generate, label and remask.

=================  ================  =================================  ==============================
``affinity``       ``threshold``     masks are made of                  γ is chosen by
=================  ================  =================================  ==============================
None               all but affinity  the heat maps                      the heat maps
self-attention     all but affinity  maps spread by self-attention      the same maps
self-attention     affinity          the heat maps                      maps spread by self-attention
affinitynet        all but affinity  maps spread by the net             the same maps
affinitynet        affinity          the heat maps                      maps spread by the net
=================  ================  =================================  ==============================

Self-attention exists only while the model runs, so its maps are made with the image. A net spreads the maps whenever masks
are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.masks.quantization import dequantize, quantize, soft_size
from diffumask_datasets.masks.working_size import shrink_image, working_size
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import MaskSettings

if TYPE_CHECKING:
    from diffumask_datasets.attention.maps import AttentionMaps

__all__ = ["HeatMaps", "check_kept", "heat_maps_of", "maps_for_masks"]


@dataclass(frozen=True, slots=True, eq=False)
class HeatMaps:
    """The small 8-bit heat maps of one image, uint8 (classes, height, width).

    ``kept`` are those of the column ``heat_maps``. ``spread`` are the same after self-attention, where γ is chosen by it.
    """

    kept: npt.NDArray[np.uint8]
    spread: npt.NDArray[np.uint8] | None = None


def heat_maps_of(attention: AttentionMaps, recipe: Recipe, *, height: int, width: int) -> HeatMaps:
    """Fuses the attention of an image into the heat maps that the recipe needs.

    Args:
        attention: Attention maps of the classes, with self-attention where the recipe spreads heat by it.
        recipe: Decides which maps are made and how classes compete.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        Maps of the size :func:`~diffumask_datasets.masks.quantization.soft_size`.

    Raises:
        CaptureError: a class has no attention, or self-attention is asked for and was not recorded.
        ModelError: NaN.
    """
    from diffumask_datasets.attention.fusion import fuse

    size_height, size_width = soft_size(height, width)

    def fused(power: int) -> npt.NDArray[np.uint8]:
        maps = fuse(
            attention, height=size_height, width=size_width, competition=recipe.competition, affinity_power=power
        )
        return quantize(maps.numpy())

    if recipe.affinity != "self-attention":
        return HeatMaps(fused(0))
    spread = fused(recipe.affinity_power)
    return HeatMaps(fused(0), spread) if recipe.threshold == "affinity" else HeatMaps(spread)


def check_kept(old: Recipe, new: Recipe) -> None:
    """Checks that masks of the recipe ``new`` can be made from the maps that ``old`` kept.

    Raises:
        RecipeError: they need self-attention that was not kept, or maps without the self-attention that these contain.
    """
    if new.affinity == "self-attention" and new.threshold == "affinity":
        lack = "the threshold 'affinity' needs the maps spread by self-attention, and only the others were kept"
    elif _is_spread(old) < _is_spread(new):
        lack = "self-attention exists only while the images are made, and the kept heat maps are without it"
    elif _is_spread(old) > _is_spread(new):
        lack = "the kept heat maps were spread by self-attention, and those before it were not kept"
    else:
        return
    raise RecipeError(f"affinity {new.affinity!r} with threshold {new.threshold!r}: {lack}; generate again")


def maps_for_masks(
    image: npt.NDArray[np.uint8], heat_maps: HeatMaps, settings: MaskSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Gives the heat maps that are thresholded and, where an affinity is used at this point, those spread along it.

    Args:
        image: uint8 (height, width, 3), which an affinity net looks at.
        heat_maps: The maps that were made with the image, or kept.
        settings: Threshold and affinity.

    Returns:
        float32 (classes, height, width) in [0, 1] of the image's working size, twice; the second may be None.

    Raises:
        ModelError: an affinity net that cannot be read.
    """
    height, width = working_size(*image.shape[:2])
    heat = dequantize(heat_maps.kept, height=height, width=width)
    spread = None if heat_maps.spread is None else dequantize(heat_maps.spread, height=height, width=width)
    if settings.affinity == "affinitynet":
        # torch is loaded only where a net is used.
        from diffumask_datasets.masks.affinity_net import load_affinity_net, spread_heat

        with model_lock:
            net = load_affinity_net(Path(settings.affinity_net or ""))
            spread = spread_heat(net, shrink_image(image, (height, width)), heat)
    return (heat if spread is None or settings.threshold == "affinity" else spread), spread


def _is_spread(recipe: Recipe) -> bool:
    """Whether the kept maps are spread by self-attention."""
    return recipe.affinity == "self-attention" and recipe.threshold != "affinity"
