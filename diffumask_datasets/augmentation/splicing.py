"""Splicing: several samples side by side, which gives small and many objects (section 3.4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffumask_datasets.augmentation.resizing import nearest, smooth
from diffumask_datasets.augmentation.scene import Scene, joined
from diffumask_datasets.sample import IGNORE

__all__ = ["resized", "spliced"]

Cell = tuple[slice, slice]


def spliced(
    tiles: Sequence[Scene], rows: int, columns: int, *, size: tuple[int, int], native_size: bool = False
) -> Scene:
    """Lays tiles side by side.

    Args:
        tiles: The scenes, row by row.
        rows: The number of rows.
        columns: The number of columns.
        size: Height and width of the canvas, to whose cells the tiles are resized.
        native_size: Keep the size of the tiles instead: every cell is as large as the largest tile, and what a smaller tile
            leaves over is 255.

    Returns:
        The spliced scene.
    """
    height, width = size
    if native_size:
        height = rows * max(tile.size[0] for tile in tiles)
        width = columns * max(tile.size[1] for tile in tiles)
    things, origins, offsets = joined(tiles)
    canvas = _canvas(height, width, tiles)
    for tile, cell, offset in zip(tiles, _cells(height, width, rows, columns), offsets, strict=True):
        target = canvas.label[cell].shape
        piece = tile if native_size else resized(tile, height=target[0], width=target[1])
        _put(canvas, piece, cell, offset)
    return canvas.replaced(things=things, origins=origins)


def resized(scene: Scene, *, height: int, width: int) -> Scene:
    """Resizes a scene: the image by area (up: linearly), masks by the nearest pixel.

    Args:
        scene: The scene.
        height: The new height.
        width: The new width.

    Returns:
        The resized scene.
    """
    if scene.size == (height, width):
        return scene
    return scene.replaced(
        image=smooth(scene.image, height, width),
        label=nearest(scene.label, height, width),
        instances=nearest(scene.instances, height, width),
        heat_maps={category: smooth(soft, height, width) for category, soft in scene.heat_maps.items()},
    )


def _canvas(height: int, width: int, tiles: Sequence[Scene]) -> Scene:
    categories = sorted({category for tile in tiles for category in tile.heat_maps})
    return Scene(
        image=np.zeros((height, width, 3), np.uint8),
        label=np.full((height, width), IGNORE, np.uint8),
        instances=np.zeros((height, width), np.int32),
        heat_maps={category: np.zeros((height, width), np.uint8) for category in categories},
    )


def _cells(height: int, width: int, rows: int, columns: int) -> list[Cell]:
    down = [height * row // rows for row in range(rows + 1)]
    across = [width * column // columns for column in range(columns + 1)]
    return [
        (slice(down[row], down[row + 1]), slice(across[column], across[column + 1]))
        for row in range(rows)
        for column in range(columns)
    ]


def _put(canvas: Scene, tile: Scene, cell: Cell, offset: int) -> None:
    height, width = tile.size
    corner = (slice(cell[0].start, cell[0].start + height), slice(cell[1].start, cell[1].start + width))
    canvas.image[corner] = tile.image
    canvas.label[corner] = tile.label
    canvas.instances[corner] = tile.instances + offset * (tile.instances > 0) if offset else tile.instances
    for category, soft in tile.heat_maps.items():
        canvas.heat_maps[category][corner] = soft
