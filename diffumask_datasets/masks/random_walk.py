"""Semantic random walk: heat spread along pair affinities (Ahn & Kwak, CVPR 2018, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse

from diffumask_datasets.errors import ShapeError

__all__ = ["BETA", "LOG_STEPS", "neighbour_offsets", "random_walk", "shifted"]

BETA = 16.0
"""Affinities are raised to this power, so that doubtful ones count for nothing."""

LOG_STEPS = 8
"""The walk takes two to this power steps."""


def neighbour_offsets(radius: int) -> list[tuple[int, int]]:
    """(down, right) from a pixel to each neighbour nearer than ``radius``, of every pair one direction."""
    return [
        (down, right)
        for down in range(radius)
        for right in range(-radius + 1, radius)
        if (down, right) > (0, 0) and down * down + right * right < radius * radius
    ]


def shifted(height: int, width: int, offset: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Lays each pixel of an array on its neighbour.

    Args:
        height: Height of the array.
        width: Width of the array.
        offset: Where the neighbour is.

    Returns:
        The slices of the pixels, and of their neighbours.
    """
    down, right = offset
    rows = slice(0, height - down), slice(down, height)
    columns = slice(max(0, -right), width - max(0, right)), slice(max(0, right), width - max(0, -right))
    return (rows[0], columns[0]), (rows[1], columns[1])


def random_walk(
    heat_maps: npt.NDArray[np.float32],
    affinities: dict[tuple[int, int], npt.NDArray[np.float32]],
    *,
    beta: float = BETA,
    log_steps: int = LOG_STEPS,
) -> npt.NDArray[np.float32]:
    """Spreads heat maps along pair affinities. One sparse product a step gives what squaring the whole matrix gives, at a
    fraction of the memory.

    Args:
        heat_maps: (classes, height, width).
        affinities: Offset → affinity in [0, 1] of the pairs that :func:`shifted` lays on each other.
        beta: The power of the affinities. Rows of the transition matrix are these, every pixel's own being 1, divided by
            their sum.
        log_steps: The walk has 2 to this power steps.

    Returns:
        Heat maps of the same shape, each with maximum 1.

    Raises:
        ShapeError: An affinity map has not the shape of its pairs.
    """
    classes, height, width = heat_maps.shape
    pairs = list(_pairs(height, width, affinities, beta))
    rows, columns, weights = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    size = height * width
    matrix = sparse.coo_array((weights, (rows, columns)), shape=(size, size))
    matrix = (matrix + matrix.T + sparse.eye_array(size)).tocsr()
    transition = sparse.diags_array(1 / matrix.sum(axis=1)) @ matrix
    spread = heat_maps.reshape(classes, size).T.astype(np.float64)
    for _ in range(2**log_steps):
        spread = transition @ spread
    peaks = np.maximum(spread.max(axis=0), np.finfo(np.float32).tiny)
    return np.asarray((spread / peaks).T.reshape(heat_maps.shape), dtype=np.float32)


def _pairs(
    height: int, width: int, affinities: dict[tuple[int, int], npt.NDArray[np.float32]], beta: float
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]]:
    numbers = np.arange(height * width).reshape(height, width)
    for offset, affinity in affinities.items():
        first, second = shifted(height, width, offset)
        if affinity.shape != numbers[first].shape:
            raise ShapeError(
                f"affinity at {offset}: expected {numbers[first].shape}, got {affinity.shape} on a {height}x{width} grid"
            )
        yield numbers[first].ravel(), numbers[second].ravel(), affinity.ravel().astype(np.float64) ** beta
