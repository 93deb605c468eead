"""The image's attention to itself as an affinity of pixel pairs, recorded with bounded memory and used to propagate maps."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.recorder import queries_at_once
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

__all__ = ["MAX_AFFINITY_SIDE", "SelfAttentionRecorder", "propagate", "select_affinity_layers"]

MAX_AFFINITY_SIDE = 32
"""Shorter side, in tokens, of the largest grid whose affinity is kept: 4 MB an image at 32x32, 64 MB at 64x64."""


def select_affinity_layers(layers: Mapping[str, Grid], affinity_grids: tuple[int, ...] | None) -> dict[str, Grid]:
    """The self-attention layers whose grid has its shorter side among ``affinity_grids``; None for the finest allowed.

    Raises:
        CaptureError: none has, or one is larger than :data:`MAX_AFFINITY_SIDE`; the message lists the grids that exist.
    """
    legal = sorted({min(grid) for grid in layers.values() if min(grid) <= MAX_AFFINITY_SIDE})
    wanted = legal[-1:] if affinity_grids is None else affinity_grids
    chosen = {name: grid for name, grid in layers.items() if min(grid) in wanted}
    if not chosen or any(min(grid) > MAX_AFFINITY_SIDE for grid in chosen.values()):
        raise CaptureError(
            f"no self-attention to propagate by on affinity_grids {list(wanted)}; this model at this size has "
            f"{', '.join(map(str, legal)) or 'none'} (at most {MAX_AFFINITY_SIDE})"
        )
    return chosen


class SelfAttentionRecorder:
    """Adds up the self-attention of each image, one (tokens, tokens) map a grid, over heads, layers and steps.

    Memory depends on the grids alone. ``layers`` gives the (height, width) in tokens of each tapped module, ``images`` the
    number of images, ``first_row`` the batch row of the first of them. Every call counts alike; whoever taps decides
    which timesteps are seen. Logits are made in chunks of at most ``chunk_logits`` (None: what suits the device).
    """

    def __init__(
        self, layers: Mapping[str, Grid], images: int, *, first_row: int = 0, chunk_logits: int | None = None
    ) -> None:
        self._layers = dict(layers)
        self._images = images
        self._first_row = first_row
        self._chunk_logits = chunk_logits
        self._sums: list[dict[Grid, torch.Tensor]] = [{} for _ in range(images)]
        self._counts: dict[Grid, int] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the tapped modules."""
        return tuple(self._layers)

    @torch.no_grad()
    def record(self, call: AttentionCall) -> None:
        """Adds one (layer, step).

        Raises:
            CaptureError: the call is no self-attention of the declared grid.
        """
        grid = self._layers[call.name]
        tokens = grid[0] * grid[1]
        if (call.query.shape[2], call.key.shape[2]) != (tokens, tokens):
            raise CaptureError(
                f"self-attention layer {call.name!r} attends from {call.query.shape[2]} to {call.key.shape[2]} tokens, "
                f"expected {grid[0]}x{grid[1]} each: the model's family declares other grids than it runs"
            )
        for image in range(self._images):
            sums = self._sums[image]
            if grid not in sums:
                sums[grid] = torch.zeros(tokens, tokens, device=call.query.device)
            self._add(call, self._first_row + image, sums[grid])
        self._counts[grid] = self._counts.get(grid, 0) + 1

    def affinities(self) -> list[dict[Grid, torch.Tensor]]:
        """The mean affinity of each image, float32 (tokens, tokens) on the CPU, rows summing to 1.

        Raises:
            CaptureError: no call was seen.
            ModelError: the attention is NaN.
        """
        if not self._counts:
            raise CaptureError(f"no self-attention was seen in {len(self._layers)} layers; try affinity=None")
        means = [{grid: (total / self._counts[grid]).cpu() for grid, total in sums.items()} for sums in self._sums]
        if not all(torch.isfinite(affinity).all() for image in means for affinity in image.values()):
            raise ModelError("the self-attention is NaN; try dtype='float32'")
        return means

    def _add(self, call: AttentionCall, row: int, total: torch.Tensor) -> None:
        heads, queries = call.query.shape[1:3]
        keys = call.key[row].float().transpose(1, 2)  # (heads, dim, keys)
        step = queries_at_once(heads * keys.shape[2], keys.device, self._chunk_logits)
        for start in range(0, queries, step):
            logits = (call.query[row, :, start : start + step].float() * call.scale) @ keys
            total[start : start + step] += logits.softmax(dim=2).mean(dim=0)


def propagate(heat: torch.Tensor, affinity: torch.Tensor, power: int) -> torch.Tensor:
    """Heat maps (classes, height, width) after ``power`` steps along ``affinity`` (tokens, tokens), each class in [0, 1].

    A step makes each pixel the mean of those it attends to (Nguyen et al., Dataset Diffusion, NeurIPS 2023, take 4 steps).
    Every class is then stretched to the range 0..1, since averaging lifts the floor.

    Raises:
        ShapeError: the grid of the maps is not that of the affinity.
    """
    classes, height, width = heat.shape
    if affinity.shape != (height * width, height * width):
        raise ShapeError(f"expected an affinity of {height * width} tokens, got {tuple(affinity.shape)}")
    flat = heat.flatten(1).T  # (tokens, classes)
    for _ in range(power):
        flat = affinity @ flat
    low, high = flat.amin(dim=0), flat.amax(dim=0)
    stretched = (flat - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)
    return stretched.T.reshape(classes, height, width)
