"""Splicing: several samples side by side, which gives small and many objects (section 3.4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.augmentation.scene import Scene, joined
from diffumask_datasets.sample import IGNORE

__all__ = ["resized", "spliced"]

Cell = tuple[slice, slice]


def spliced(
    tiles: Sequence[Scene], rows: int, columns: int, *, size: tuple[int, int], native_size: bool = False
) -> Scene:
    """``rows`` x ``columns`` tiles, row by row, on a canvas of ``size`` (height, width).

    Tiles are resized to their cell. With ``native_size`` they keep their size and the result grows: every cell is as large
    as the largest tile, and what a smaller tile leaves over is 255.
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
    """The scene at another size: the image by area (up: linearly), masks by the nearest pixel."""
    if scene.size == (height, width):
        return scene
    return scene.replaced(
        image=_smooth(scene.image, height, width),
        label=_nearest(scene.label, height, width),
        instances=_nearest(scene.instances, height, width),
        heat_maps={category: _smooth(soft, height, width) for category, soft in scene.heat_maps.items()},
    )


def _smooth(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    old_height, old_width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    if old_height % height == 0 and old_width % width == 0:
        # The same mean over whole pixels as below, several times as fast.
        return np.asarray(picture.reduce((old_width // width, old_height // height)))
    shrinks = height <= old_height and width <= old_width
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def _nearest(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    old_height, old_width = values.shape
    if old_height % height == 0 and old_width % width == 0:
        down, across = old_height // height, old_width // width
        return values[down // 2 :: down, across // 2 :: across]
    rows = ((np.arange(height) + 0.5) * old_height / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * old_width / width).astype(np.intp)
    nearest: npt.NDArray[Any] = values[rows].take(columns, axis=1)
    return nearest


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
