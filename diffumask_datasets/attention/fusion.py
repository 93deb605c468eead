"""From attention maps on several token grids to one heat map per class."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from diffumask_datasets.attention.affinity import affinity_grid, propagate
from diffumask_datasets.attention.maps import AttentionMaps, Grid
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

__all__ = ["compete", "fuse"]

_ROUNDS = 5
"""Rounds of balancing; 3 to 30 give the same IoU."""

_FAINT = 1e-3
"""Heat below this is all alike: its logarithm would otherwise outweigh everything."""

_TINY = torch.finfo(torch.float32).tiny


def fuse(
    maps: AttentionMaps, *, height: int, width: int, competition: float = 0.0, affinity_power: int = 0
) -> torch.Tensor:
    """Fuses attention maps of several grids into one heat map per class.

    Every grid is resampled (bicubic, clamped to [0, 1]) to the image and averaged, weighted by the number of (layer, step)
    maps that it holds, so that each map counts once: DiffuMask (Wu et al., ICCV 2023, section 3.2) divides each map by its
    maximum and averages over layers and steps. Its released code weights the grids alike instead, after dividing each by its
    own maximum. The last division, by the maximum of each class, puts the thresholds of all classes on one scale.

    Args:
        maps: What was recorded.
        height: Height of the heat maps.
        width: Width of the heat maps.
        competition: How sharply classes share each pixel, see :func:`compete`; 0 for not at all.
        affinity_power: Steps along each affinity of ``maps``, on its grid, whose results are averaged; 0 for none.

    Returns:
        Float32 (classes, ``height``, ``width``) in [0, 1], each class with maximum 1.

    Raises:
        ShapeError: No grid, or a size that is not positive.
        CaptureError: A class has no attention anywhere, or steps are requested and no affinity was recorded.
        ModelError: A map holds NaN.
    """
    if height <= 0 or width <= 0 or not maps.grids:
        raise ShapeError(f"expected a positive size and some grids, got {height}x{width} and {len(maps.grids)} grids")
    heat = _propagated(maps, height, width, affinity_power) if affinity_power else _combined(maps, height, width)
    return _normalised(compete(heat, competition), maps.categories) if competition and len(heat) > 1 else heat


def compete(heat: torch.Tensor, strength: float) -> torch.Tensor:
    """Heat maps (classes, height, width): the hottest class's heat, times the share that each class has in the pixel.

    Classes attend to each other's objects, each to its own the most. So what counts is not how hot a class is but how hot
    by its own measure and by that of the pixel: the shares, heat to the power ``strength``, are balanced (Sinkhorn & Knopp
    1967) until every class holds as much of the foreground as the others and all shares of a pixel add up to 1.
    """
    hottest = heat.amax(dim=0)
    weight = (hottest / hottest.sum()).clamp_min(_TINY).log()
    shares = strength * heat.clamp_min(_FAINT).log()
    for _ in range(_ROUNDS):
        shares = shares - (shares + weight).flatten(1).logsumexp(dim=1)[:, None, None]
        shares = shares - shares.logsumexp(dim=0, keepdim=True)
    return hottest * shares.exp()


def _propagated(maps: AttentionMaps, height: int, width: int, power: int) -> torch.Tensor:
    """The maps after ``power`` steps along each affinity, averaged, each class with maximum 1."""
    if not maps.affinities:
        raise CaptureError("no self-attention was recorded to propagate by; generate with affinity='self-attention'")
    heat = torch.zeros(len(maps.categories), height, width)
    for grid in sorted(maps.affinities):
        size = affinity_grid(grid)
        heat += _resampled(propagate(_combined(maps, *size), maps.affinities[grid], power), size, height, width)
    return _normalised(heat, maps.categories)


def _combined(maps: AttentionMaps, height: int, width: int) -> torch.Tensor:
    """All grids on one, each class with maximum 1."""
    total = sum(maps.counts[grid] for grid in maps.grids)
    heat = torch.zeros(len(maps.categories), height, width)
    for grid in sorted(maps.grids):
        heat.add_(_resampled(maps.grids[grid], grid, height, width), alpha=maps.counts[grid] / total)
    return _normalised(heat, maps.categories)


def _normalised(heat: torch.Tensor, categories: tuple[str, ...]) -> torch.Tensor:
    peaks = heat.amax(dim=(1, 2))
    _check_peaks(categories, peaks)
    return heat / peaks[:, None, None]


def _resampled(weights: torch.Tensor, grid: Grid, height: int, width: int) -> torch.Tensor:
    if tuple(weights.shape[1:]) != grid:
        raise ShapeError(f"expected maps of grid {grid}, got {tuple(weights.shape[1:])}")
    if grid == (height, width):
        return weights
    # (classes, h, w) -> (1, classes, h, w) -> (classes, height, width)
    if height <= grid[0] and width <= grid[1]:
        return F.interpolate(weights[None], size=(height, width), mode="area")[0]
    return F.interpolate(weights[None], size=(height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def _check_peaks(categories: tuple[str, ...], peaks: torch.Tensor) -> None:
    for category, peak in zip(categories, peaks.tolist(), strict=True):
        if peak != peak:
            raise ModelError(f"the heat map of class {category!r} is NaN")
        if peak <= 0:
            raise CaptureError(f"the heat map of class {category!r} is zero everywhere")
