"""What a recorder hands on: cross-attention maps of each class, one fused stack per token grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

__all__ = ["AttentionMaps", "Grid", "LayerSums"]

Grid = tuple[int, int]
"""(height, width) in image tokens."""


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """Cross-attention of one image, averaged over layers and steps of equal grid.

    ``grids[height, width]`` is float32 (classes, height, width) in [0, 1]: each (layer, step) map is the mean over heads
    and over the class term's tokens, divided by its maximum, then averaged (DiffuMask, section 3.2).
    ``counts`` says how many (layer, step) maps each average holds, each counted by the weight of its layer. Classes stand in
    the order of ``categories``.
    ``affinities[height, width]``, where requested, is the image's mean attention to itself in the layers of that grid:
    float32 (tokens, tokens), row-major, rows summing to 1, for the tokens of
    :func:`diffumask_datasets.attention.affinity.affinity_grid`.
    """

    categories: tuple[str, ...]
    grids: Mapping[Grid, torch.Tensor]
    counts: Mapping[Grid, float]
    affinities: Mapping[Grid, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerSums:
    """Maps of one image, added up over the steps of each layer.

    ``sums[layer]`` is float32 (classes, height, width), ``counts[layer]`` the number of maps in it.
    """

    categories: tuple[str, ...]
    sums: Mapping[str, torch.Tensor]
    counts: Mapping[str, int]

    @property
    def means(self) -> dict[str, torch.Tensor]:
        """The mean map of each layer."""
        return {layer: total / self.counts[layer] for layer, total in self.sums.items()}

    def by_grid(
        self, affinities: Mapping[Grid, torch.Tensor], weights: Mapping[str, float] | None = None
    ) -> AttentionMaps:
        """Averages the layers of equal grid.

        Args:
            affinities: Self-attention that goes along, if any.
            weights: How much each layer counts; None for all alike.
        """
        grids: dict[Grid, torch.Tensor] = {}
        counts: dict[Grid, float] = {}
        for layer, total in self.sums.items():
            grid, weight = (total.shape[1], total.shape[2]), 1.0 if weights is None else weights[layer]
            grids[grid] = grids.get(grid, torch.zeros_like(total)) + weight * total
            counts[grid] = counts.get(grid, 0.0) + weight * self.counts[layer]
        found = {grid: total / counts[grid] for grid, total in sorted(grids.items()) if counts[grid] > 0}
        return AttentionMaps(self.categories, found, {grid: counts[grid] for grid in found}, dict(affinities))
