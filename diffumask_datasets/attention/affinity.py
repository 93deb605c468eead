"""The image's attention to itself as an affinity of pixel pairs, recorded with bounded memory and used to propagate maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.recorder import OnWeights, mean_attention, row_mask
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

__all__ = ["MAX_AFFINITY_SIDE", "SelfAttentionRecorder", "affinity_grid", "propagate", "select_affinity_layers"]

MAX_AFFINITY_SIDE = 32
"""Shorter side, in tokens, of the finest grid that is read by default; of larger ones alone, the coarsest is."""

MAX_AFFINITY_TOKENS = 2048
"""Tokens of an affinity (16 MB in float32): on a larger grid neighbouring tokens are averaged first."""


def select_affinity_layers(layers: Mapping[str, Grid], affinity_grids: Sequence[int] | None) -> dict[str, Grid]:
    """The self-attention layers whose grid has its shorter side among ``affinity_grids``.

    None stands for the finest side of at most :data:`MAX_AFFINITY_SIDE` tokens, or the smallest that there is.

    Raises:
        CaptureError: no layer has one of these grids; the message lists those that exist.
    """
    sides = sorted({min(grid) for grid in layers.values()})
    default = [side for side in sides if side <= MAX_AFFINITY_SIDE][-1:] or sides[:1]
    requested = default if affinity_grids is None else affinity_grids
    chosen = {name: grid for name, grid in layers.items() if min(grid) in requested}
    if not chosen:
        raise CaptureError(
            f"no self-attention to propagate by on affinity_grids {list(requested)}; this model at this size has "
            f"{', '.join(map(str, sides)) or 'none'}"
        )
    return chosen


def affinity_grid(grid: Grid) -> Grid:
    """The grid on which the affinity of ``grid`` is kept: itself, or with each ``factor`` x ``factor`` tokens as one."""
    factor = _factor(grid)
    return -(-grid[0] // factor), -(-grid[1] // factor)


class SelfAttentionRecorder:
    """Adds up the self-attention of each image, one (tokens, tokens) map a grid, over heads, layers and steps.

    In joint attention that is the part from image to image, its rows scaled to sum to 1. On grids of more than
    :data:`MAX_AFFINITY_TOKENS` queries and keys are averaged over neighbours first, see :func:`affinity_grid`, so that
    memory is bounded whatever the image's size.

    Args:
        layers: (height, width) in tokens of each module that is read.
        images: Number of images; row i of every call is image i.
        chunk_logits: Attention logits held at once; None for what suits the device.
    """

    def __init__(self, layers: Mapping[str, Grid], images: int, *, chunk_logits: int | None = None) -> None:
        self.layers = dict(layers)
        self._chunk_logits = chunk_logits
        self._sums: list[dict[Grid, torch.Tensor]] = [{} for _ in range(images)]
        self._counts: dict[Grid, int] = {}
        self._is_joint = False

    @torch.no_grad()
    def record(self, call: AttentionCall, starts: Sequence[int]) -> None:
        """Adds one (layer, step).

        Args:
            call: Attention whose queries are the image tokens alone.
            starts: Where the image tokens start among the keys of each row.

        Raises:
            CaptureError: the call has not the rows or tokens that were declared.
        """
        grid, add = self.layers[call.name], self._adder(call, starts)
        is_whole = affinity_grid(grid) == grid
        for row, start in enumerate(starts):
            part, part_row = (call, row) if is_whole else (_averaged_call(call, row, start, grid), 0)
            for chunk, weights in mean_attention(part, part_row, self._chunk_logits):
                add(row, chunk, weights)

    def listener(self, call: AttentionCall, starts: Sequence[int]) -> OnWeights | None:
        """What adds one (layer, step) from attention that another recorder computes, arguments as for :meth:`record`.

        None on a grid whose attention must be computed between averages of tokens.
        """
        grid = self.layers[call.name]
        return self._adder(call, starts) if affinity_grid(grid) == grid else None

    def _adder(self, call: AttentionCall, starts: Sequence[int]) -> OnWeights:
        """Checks and counts one (layer, step); what is returned adds its attention."""
        grid = self.layers[call.name]
        tokens, (rows, _, queries, _) = math.prod(grid), call.query.shape
        keys, size = call.key.shape[2], math.prod(affinity_grid(grid))
        if (rows, queries) != (len(self._sums), tokens) or max(starts) + tokens > keys:
            raise CaptureError(
                f"self-attention layer {call.name!r} attends in {rows} rows from {queries} to {keys} tokens, expected "
                f"{len(self._sums)} rows of {grid[0]}x{grid[1]}: the model's family declares other grids than it runs"
            )
        self._is_joint |= keys > tokens
        self._counts[grid] = self._counts.get(grid, 0) + 1

        def add(row: int, chunk: slice, weights: torch.Tensor) -> None:
            sums, start = self._sums[row], starts[row]
            if grid not in sums:
                sums[grid] = torch.zeros(size, size, device=weights.device)
            sums[grid][chunk] += weights[:, start : start + size]

        return add

    def affinities(self) -> list[dict[Grid, torch.Tensor]]:
        """The mean affinity of each image by the grid of the layers: float32 on the CPU, rows summing to 1.

        Raises:
            CaptureError: no call was seen.
            ModelError: the attention is NaN.
        """
        if not self._counts:
            raise CaptureError(f"no self-attention was seen in {len(self.layers)} layers; try affinity=None")
        means = [{grid: self._mean(grid, total) for grid, total in sums.items()} for sums in self._sums]
        if not all(torch.isfinite(affinity).all() for image in means for affinity in image.values()):
            raise ModelError("the self-attention is NaN; try dtype='float32'")
        return means

    def _mean(self, grid: Grid, total: torch.Tensor) -> torch.Tensor:
        mean = (total / self._counts[grid]).cpu()
        return mean / mean.sum(dim=1, keepdim=True) if self._is_joint else mean


def propagate(heat: torch.Tensor, affinity: torch.Tensor, power: int) -> torch.Tensor:
    """Spreads heat along an affinity: each step makes every pixel the mean of those it attends to.

    Nguyen et al. (Dataset Diffusion, NeurIPS 2023) take 4 steps. Every class is then stretched to the range 0..1, since
    averaging lifts the floor.

    Args:
        heat: Float32 (classes, height, width).
        affinity: Float32 (tokens, tokens), rows summing to 1.
        power: The number of steps.

    Returns:
        Float32 (classes, height, width) in [0, 1].

    Raises:
        ShapeError: The grid of the maps is not that of the affinity.
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


def _factor(grid: Grid) -> int:
    """Tokens a side that become one."""
    factor = 1
    while -(-grid[0] // factor) * -(-grid[1] // factor) > MAX_AFFINITY_TOKENS:
        factor += 1
    return factor


def _averaged_call(call: AttentionCall, row: int, start: int, grid: Grid) -> AttentionCall:
    """One row of ``call`` with its image tokens averaged over neighbours, among queries and keys."""
    tokens = math.prod(grid)
    key = call.key[row]
    image = _averaged(key[:, start : start + tokens], grid)
    # An averaged key stands for all its tokens, and softmax must count each of them.
    stands_for = _averaged(torch.ones(1, tokens, 1, device=key.device), grid, divisor=1).log()[:, :, 0]
    hidden = _hidden_keys(call, row)
    after = slice(start + tokens, None)
    return AttentionCall(
        call.name,
        _averaged(call.query[row], grid)[None],
        torch.cat([key[:, :start].float(), image, key[:, after].float()], dim=1)[None],
        torch.cat([hidden[:, :start], stands_for.expand(len(hidden), -1), hidden[:, after]], dim=1)[None, :, None],
        call.scale,
    )


def _averaged(tokens: torch.Tensor, grid: Grid, *, divisor: int | None = None) -> torch.Tensor:
    """``tokens`` (heads, height * width, dim) → (heads, tokens of :func:`affinity_grid`, dim), float32."""
    planes = tokens.float().transpose(1, 2).unflatten(2, grid)  # (heads, dim, height, width)
    pooled = F.avg_pool2d(planes, _factor(grid), ceil_mode=True, divisor_override=divisor)
    return pooled.flatten(2).transpose(1, 2)


def _hidden_keys(call: AttentionCall, row: int) -> torch.Tensor:
    """What the mask adds to the logits of each key, float32 (heads or 1, keys): padding is hidden from all image tokens."""
    if call.mask is None:
        return torch.zeros(1, call.key.shape[2], device=call.key.device)
    mask = row_mask(call.mask, row)[:, 0]
    return (
        torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else mask
    )
