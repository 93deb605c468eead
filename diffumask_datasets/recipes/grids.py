"""The grids of splicing."""

from __future__ import annotations

__all__ = ["GRIDS", "SMALLEST_TILE", "fits", "grid_size"]

GRIDS = ("1x2", "2x1", "2x2", "3x3", "5x5", "8x8")
"""Rows × columns."""

SMALLEST_TILE = 4
"""Pixels a side: less shows nothing."""


def grid_size(grid: str) -> tuple[int, int]:
    """(rows, columns) of a grid."""
    rows, columns = grid.split("x")
    return int(rows), int(columns)


def fits(grid: str, height: int, width: int) -> bool:
    """Tells whether a grid fits an image.

    Args:
        grid: The grid.
        height: Height of the image.
        width: Width of the image.

    Returns:
        Whether every tile has at least 4 pixels a side.
    """
    rows, columns = grid_size(grid)
    return height >= rows * SMALLEST_TILE and width >= columns * SMALLEST_TILE
