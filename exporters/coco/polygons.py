"""Masks as polygons along the edges of pixels, without holes: pycocotools decodes them to the very same pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["edge_polygons"]

Mask = npt.NDArray[np.bool_]
Corner = tuple[int, int]

_RIGHT_OF = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}
"""Direction (dx, dy) → the one to the right of it, y pointing down."""


def edge_polygons(mask: Mask) -> list[list[float]]:
    """[x, y, x, y, …] of polygons whose union is the mask (height, width); a part with holes is cut open at each hole."""
    polygons = []
    parts, count = ndimage.label(mask)
    for number, window in enumerate(ndimage.find_objects(parts), start=1):
        rows, columns = window
        polygons += _without_holes(parts[window] == number, columns.start, rows.start)
    return polygons if count else []


def _without_holes(part: Mask, left: int, top: int) -> list[list[float]]:
    holes = ndimage.binary_fill_holes(part, np.ones((3, 3))) & ~part
    if not holes.any():
        return [_flat(_outline(part), left, top)]
    # The cut runs through the first hole, so that each side has fewer of them.
    column = int(np.flatnonzero(holes.any(axis=0))[0])
    polygons = []
    for start, stop in ((0, column + 1), (column + 1, part.shape[1])):
        side = part[:, start:stop]
        pieces, _ = ndimage.label(side)
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            piece = pieces[rows, columns] == number
            polygons += _without_holes(piece, left + start + columns.start, top + rows.start)
    return polygons


def _outline(part: Mask) -> list[Corner]:
    """Corners (x, y) of a 4-connected part without holes, clockwise from its top left one."""
    padded = np.pad(part, 1)
    start = (int(np.argmax(part[0])), 0)
    corners, place, direction = [start], start, (1, 0)
    while True:
        place = (place[0] + direction[0], place[1] + direction[1])
        turned = _turn(padded, place, direction)
        if place == start:
            return corners
        if turned != direction:
            corners.append(place)
        direction = turned


def _turn(padded: Mask, place: Corner, direction: Corner) -> Corner:
    """The next direction with the part on the right hand; parts that touch at a corner only stay apart."""
    right = _RIGHT_OF[direction]
    if not _inside(padded, place, direction, right):
        return right
    left = (-right[0], -right[1])
    return left if _inside(padded, place, direction, left) else direction


def _inside(padded: Mask, place: Corner, ahead: Corner, side: Corner) -> bool:
    """Whether the pixel ahead of a corner, on that side, belongs to the part."""
    x = place[0] + (ahead[0] + side[0] - 1) // 2
    y = place[1] + (ahead[1] + side[1] - 1) // 2
    return bool(padded[y + 1, x + 1])


def _flat(corners: list[Corner], left: int, top: int) -> list[float]:
    return [float(number) for x, y in corners for number in (x + left, y + top)]
