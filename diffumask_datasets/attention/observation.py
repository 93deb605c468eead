"""Everything that one image shows at single timesteps, layer by layer: what a search for the best attention looks at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from diffumask_datasets.attention.affinity import select_affinity_layers
from diffumask_datasets.attention.agreement import WeighLayers, combine_layers
from diffumask_datasets.attention.contrast import BackgroundTokens, Contrast, background_tokens, contrasted
from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.attention.maps import AttentionMaps, Grid, LayerSums
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, OnWeights
from diffumask_datasets.errors import CaptureError

__all__ = ["LayerStep", "Observation", "ObservingRecorder"]

LayerStep = tuple[str, int]
"""(layer name, timestep)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The attention of one image, nothing averaged but heads and tokens.

    ``maps[layer, timestep]`` is float32 (classes + background groups, height, width): attention per token, first of each
    class in the order of ``categories``, then of each group. ``affinities[grid, timestep]`` is float16 (tokens, tokens),
    the mean over heads and layers of that grid of the image's attention to itself; rows sum to 1. There are none where
    the model's self-attention cannot be read.
    """

    categories: tuple[str, ...]
    background_tokens: BackgroundTokens
    maps: Mapping[LayerStep, torch.Tensor]
    affinities: Mapping[tuple[Grid, int], torch.Tensor]

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names in the order in which the model runs them."""
        return tuple(dict.fromkeys(layer for layer, _ in self.maps))

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps seen, ascending."""
        return tuple(sorted({timestep for _, timestep in self.maps}))

    def fused(
        self,
        layers: Collection[str],
        timesteps: Collection[int],
        *,
        contrast: Contrast | None = None,
        affinity_grids: Sequence[int] | None = None,
        attention: WeighLayers = "equal",
    ) -> AttentionMaps:
        """What recorders of these layers, timesteps and grids would have handed on for this image.

        Args:
            layers: Names of the layers that are read.
            timesteps: Training timesteps that are read.
            contrast: What each map is first set against, if anything.
            affinity_grids: Grids of the self-attention; see ``select_affinity_layers``.
            attention: How layers are weighed; see :func:`~diffumask_datasets.attention.agreement.combine_layers`.

        Raises:
            CaptureError: none of them was observed.
        """
        sums: dict[str, torch.Tensor] = {}
        counts: dict[str, int] = {}
        for (layer, timestep), weights in self.maps.items():
            if layer in layers and timestep in timesteps:
                shares = contrasted(weights.flatten(1), self.background_tokens, contrast).view(-1, *weights.shape[1:])
                peaks = shares.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
                sums[layer] = sums.get(layer, torch.zeros_like(shares)) + shares / peaks
                counts[layer] = counts.get(layer, 0) + 1
        if not sums:
            raise CaptureError(f"none of the layers {sorted(layers)} was seen at the timesteps {sorted(timesteps)}")
        affinities = self._affinities(timesteps, affinity_grids)
        return combine_layers(LayerSums(self.categories, sums, counts), affinities, attention=attention)

    def _affinities(self, timesteps: Collection[int], affinity_grids: Sequence[int] | None) -> dict[Grid, torch.Tensor]:
        if not self.affinities:
            return {}
        seen = select_affinity_layers({str(grid): grid for grid, _ in self.affinities}, affinity_grids).values()
        parts: dict[Grid, list[torch.Tensor]] = {}
        for (grid, timestep), affinity in self.affinities.items():
            if grid in seen and timestep in timesteps:
                parts.setdefault(grid, []).append(affinity.float())
        return {grid: torch.stack(found).mean(dim=0) for grid, found in parts.items()}


class ObservingRecorder(CrossAttentionRecorder):
    """Keeps the attention of one image per layer and timestep. For searches: memory grows with both."""

    def __init__(self, layers: Mapping[str, Grid], text: TextTokens) -> None:
        background = background_tokens(text)
        super().__init__(layers, [replace(text, token_indices={**text.token_indices, **background})])
        self._categories = tuple(text.token_indices)
        self._counted = BackgroundTokens.of(text.token_indices, background)
        self._maps: dict[LayerStep, torch.Tensor] = {}

    @property
    def timestep(self) -> int:
        """The present training timestep."""
        return round(self._ran[-1])

    @torch.no_grad()
    def record(self, call: AttentionCall, on_weights: OnWeights | None = None) -> None:
        """Keeps one (layer, timestep)."""
        grid = self.layers[call.name]
        self._check_shape(call, grid)
        weights = self._class_attention(call, 0, self._averages(call.key)[0], on_weights)
        self._maps[call.name, self.timestep] = weights.reshape(-1, *grid).cpu()

    def observation(self, affinities: Mapping[tuple[Grid, int], torch.Tensor]) -> Observation:
        """What was seen.

        Raises:
            CaptureError: nothing.
        """
        if not self._maps:
            raise CaptureError(self._why_empty())
        return Observation(self._categories, self._counted, dict(self._maps), dict(affinities))
