"""Which layers point at objects, told without any annotation: those whose maps agree with the image's self-attention.

A layer whose map of a class is flat within the parts of the image that attend to each other, and differs between them,
keeps its variance when every token becomes the mean of those it attends to. Maps that blur across borders, or point
nowhere, lose it. GoCA (CVPR 2026) weighs layers by their agreement with a feature affinity in the same spirit; the
measure here is our own.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F

from diffumask_datasets.attention.affinity import affinity_grid
from diffumask_datasets.attention.maps import AttentionMaps, Grid, LayerSums
from diffumask_datasets.errors import CaptureError

__all__ = ["WeighLayers", "combine_layers", "layer_agreements", "layer_weights"]

logger = logging.getLogger(__name__)

WeighLayers = Literal["auto", "equal"]

SHARPNESS = 2
"""Power of the agreement in a layer's weight. On drawn scenes 1, 2 and 4 are alike, and 8 loses a point."""

LEAST_AGREEMENT = 0.02
"""Best agreement of an image below which no layer tells anything; layers that point reach 0.2."""

_disagreeing: Counter[frozenset[str]] = Counter()
"""Images in which no layer tells anything, by the layers that were read: those of a model in this process."""


def layer_agreements(maps: Mapping[str, torch.Tensor], affinities: Mapping[Grid, torch.Tensor]) -> dict[str, float]:
    """Gives the share of each layer's variance that survives one step along the finest affinity, averaged over classes.

    Args:
        maps: Float32 (classes, height, width) of each layer.
        affinities: Self-attention by the grid of its layers, see :class:`~diffumask_datasets.attention.maps.AttentionMaps`.

    Returns:
        Layer → agreement in [0, 1].
    """
    finest = max(affinities, key=lambda grid: grid[0] * grid[1])
    size, affinity = affinity_grid(finest), affinities[finest]
    agreements = {}
    for layer, weights in maps.items():
        tokens = F.interpolate(weights[None], size=size, mode="bicubic", align_corners=False)[0].flatten(1).T
        before, after = tokens.var(dim=0), (affinity @ tokens).var(dim=0)
        agreements[layer] = float((after / before.clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1).mean())
    return agreements


def layer_weights(maps: Mapping[str, torch.Tensor], affinities: Mapping[Grid, torch.Tensor]) -> dict[str, float]:
    """Gives each layer a weight in [0, 1]: the square of its agreement relative to the best layer's.

    Where no layer agrees with the image, all count alike. A warning says so of the first such image of a model in a
    process, and how many there are at 10, 100, 1,000 and so on. Arguments as for :func:`layer_agreements`.
    """
    agreements = layer_agreements(maps, affinities)
    best = max(agreements.values())
    if not best >= LEAST_AGREEMENT:
        _tell_disagreement(frozenset(maps), best)
        return dict.fromkeys(maps, 1.0)
    return {layer: (agreement / best) ** SHARPNESS for layer, agreement in agreements.items()}


def _tell_disagreement(layers: frozenset[str], best: float) -> None:
    _disagreeing[layers] += 1
    count = _disagreeing[layers]
    if count == 1:
        logger.warning(
            "attention='auto': no layer's map agrees with the image (best %.3f), so all layers count alike and masks may be "
            "wrong; search layers with diffumask tune-attention, or name them with attention_layers",
            best,
        )
    elif count == 10 ** (len(str(count)) - 1):
        logger.warning("attention='auto': so far, no layer's map agrees with the image in %d images", count)


def combine_layers(
    sums: LayerSums, affinities: Mapping[Grid, torch.Tensor], *, attention: WeighLayers = "equal"
) -> AttentionMaps:
    """Averages the layers of an image by their grid.

    Args:
        sums: What was recorded of each layer.
        affinities: Self-attention of the image, which ``"auto"`` needs.
        attention: ``"auto"`` weighs layers by :func:`layer_weights`; ``"equal"`` counts all alike.

    Returns:
        One map a class and grid.

    Raises:
        CaptureError: ``"auto"`` without self-attention.
    """
    if attention == "equal":
        return sums.by_grid(affinities)
    if not affinities:
        raise CaptureError(
            "attention 'auto': no self-attention was recorded to weigh layers by; take attention='equal'"
        )
    return sums.by_grid(affinities, layer_weights(sums.means, affinities))
