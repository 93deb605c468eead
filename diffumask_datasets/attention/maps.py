"""What a recorder hands on: cross-attention maps of each class, one fused stack per token grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

__all__ = ["AttentionMaps", "Grid"]

Grid = tuple[int, int]
"""(height, width) in image tokens."""


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """Cross-attention of one image, averaged over layers and steps of equal grid.

    ``grids[height, width]`` is float32 (classes, height, width) in [0, 1]: each (layer, step) map is the mean over heads
    and over the class term's tokens, divided by its maximum, then averaged (DiffuMask, section 3.2).
    ``counts`` says how many (layer, step) maps each average holds. Classes stand in the order of ``categories``.
    ``affinities[height, width]``, where requested, is the image's mean attention to itself in the layers of that grid:
    float32 (tokens, tokens), row-major, rows summing to 1, for the tokens of
    :func:`diffumask_datasets.attention.affinity.affinity_grid`.
    """

    categories: tuple[str, ...]
    grids: Mapping[Grid, torch.Tensor]
    counts: Mapping[Grid, int]
    affinities: Mapping[Grid, torch.Tensor] = field(default_factory=dict)
