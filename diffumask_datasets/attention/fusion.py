"""From attention maps on several token grids to one heat map per class."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from diffumask_datasets.attention.maps import AttentionMaps, Grid
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

__all__ = ["fuse"]


def fuse(maps: AttentionMaps, *, height: int, width: int) -> torch.Tensor:
    """Heat maps, float32 (classes, ``height``, ``width``) in [0, 1], each class with maximum 1.

    Every grid is upsampled (bicubic, clamped to [0, 1]) to the image and averaged, weighted by the number of
    (layer, step) maps that it holds, so that each map counts once: DiffuMask (Wu et al., ICCV 2023, section 3.2)
    divides each map by its maximum and averages over layers and steps. Its released code weights the grids alike
    instead, after dividing each by its own maximum. The last division, by the maximum of each class, puts the
    thresholds of all classes on one scale.

    Raises:
        ShapeError: no grid, or a size that is not positive.
        CaptureError: a class has no attention anywhere.
        ModelError: a map holds NaN.
    """
    if height <= 0 or width <= 0 or not maps.grids:
        raise ShapeError(f"expected a positive size and some grids, got {height}x{width} and {len(maps.grids)} grids")
    total = sum(maps.counts[grid] for grid in maps.grids)
    heat = torch.zeros(len(maps.categories), height, width)
    for grid in sorted(maps.grids):
        heat.add_(_upsampled(maps.grids[grid], grid, height, width), alpha=maps.counts[grid] / total)
    peaks = heat.amax(dim=(1, 2))
    _check_peaks(maps.categories, peaks)
    return heat / peaks[:, None, None]


def _upsampled(weights: torch.Tensor, grid: Grid, height: int, width: int) -> torch.Tensor:
    if tuple(weights.shape[1:]) != grid:
        raise ShapeError(f"expected maps of grid {grid}, got {tuple(weights.shape[1:])}")
    if grid == (height, width):
        return weights
    # (classes, h, w) -> (1, classes, h, w) -> (classes, height, width)
    return F.interpolate(weights[None], size=(height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def _check_peaks(categories: tuple[str, ...], peaks: torch.Tensor) -> None:
    for category, peak in zip(categories, peaks.tolist(), strict=True):
        if peak != peak:
            raise ModelError(f"the heat map of class {category!r} is NaN")
        if peak <= 0:
            raise CaptureError(f"the heat map of class {category!r} is zero everywhere")
