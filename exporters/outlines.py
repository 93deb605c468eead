"""Masks as one closed polygon through the centres of border pixels, for formats that know nothing but polygons.

Drawn with its border (Pillow's ``ImageDraw.polygon``, OpenCV's ``fillPoly``) a connected mask comes back exactly: a slit
of no width leads to each hole and back. Separate parts are joined by a bridge one pixel wide, which draws pixels that
are not in the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.graph import route_through_array
from skimage.measure import find_contours

__all__ = ["draw_polygon", "mask_iou", "outline", "parts_of"]

Mask = npt.NDArray[np.bool_]
Point = tuple[int, int]
"""x, y of a pixel."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
_NEARLY_INSIDE = 1 - 1e-6
"""Contour level: so near to the pixels of the mask that rounding finds their centres."""


def parts_of(mask: Mask) -> list[Mask]:
    """The connected parts of a mask, pixels that touch at a corner being connected; each (height, width)."""
    numbered, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    return [numbered == number for number in range(1, count + 1)]


def outline(mask: Mask, *, costs: npt.NDArray[np.float64] | None = None) -> list[Point]:
    """The polygon of a mask that has at least one pixel; three points or more.

    Bridges between separate parts take the cheapest way through ``costs`` (height, width), default 1 a pixel.
    """
    parts = parts_of(mask)
    polygon = _part_outline(parts[0])
    done = parts[0].copy()
    for part in parts[1:]:
        way = _way(done, part, np.ones(mask.shape) if costs is None else costs)
        polygon = _joined(polygon, _part_outline(part), way)
        done |= part
    corners = _corners(polygon)
    return corners if len(corners) > 2 else (corners * 3)[:3]


def draw_polygon(canvas: Image.Image, polygon: Sequence[tuple[float, float]], value: int) -> None:
    """Draws a polygon the way its readers do.

    Args:
        canvas: What it is drawn on.
        polygon: Its corners, (x, y).
        value: What its pixels become.
    """
    ImageDraw.Draw(canvas).polygon(list(polygon), fill=value)


def mask_iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks (height, width), one of which has a pixel."""
    return float((one & other).sum() / (one | other).sum())


def _part_outline(part: Mask) -> list[Point]:
    """Every border pixel of a connected mask, in one closed walk."""
    rings = sorted(_rings(part), key=min)
    polygon = rings[0]
    for ring in rings[1:]:
        # The slit runs left from the leftmost pixel around the hole, to a border that is already in the polygon.
        start = ring.index(min(ring))
        x, y = ring[start]
        outside = np.flatnonzero(~part[y, :x])
        target = (int(outside[-1]) + 1 if outside.size else 0, y)
        loop = [*ring[start:], *ring[: start + 1]]
        way = [target, *loop, target] if target != (x, y) else loop
        place = polygon.index(target)
        polygon = [*polygon[:place], *way, *polygon[place + 1 :]]
    return polygon


def _rings(part: Mask) -> list[list[Point]]:
    """The outer border and the border of each hole: centres of neighbouring pixels of the part."""
    rings = []
    for contour in find_contours(np.pad(part.astype(float), 1), _NEARLY_INSIDE, fully_connected="high"):
        pixels = np.rint(contour).astype(int)[:, ::-1] - 1
        moved = np.r_[True, (np.diff(pixels, axis=0) != 0).any(axis=1)]
        points = [(int(x), int(y)) for x, y in pixels[moved]]
        rings.append(points[:-1] if len(points) > 1 else points)
    return rings


def _way(done: Mask, part: Mask, costs: npt.NDArray[np.float64]) -> list[Point]:
    """Neighbouring pixels from the finished mask to the part, ends included."""
    distance, nearest = ndimage.distance_transform_edt(~part, return_indices=True)
    row, column = np.unravel_index(np.where(done, distance, np.inf).argmin(), part.shape)
    end = (int(nearest[0, row, column]), int(nearest[1, row, column]))
    free = np.where(done | part, 1e-3, costs)
    steps, _ = route_through_array(free, (int(row), int(column)), end, fully_connected=True)
    inside = [number for number, step in enumerate(steps) if done[step]]
    beyond = next(number for number, step in enumerate(steps) if number > inside[-1] and part[step])
    return [(column, row) for row, column in steps[inside[-1] : beyond + 1]]


def _joined(one: list[Point], other: list[Point], way: list[Point]) -> list[Point]:
    first, last = one.index(way[0]), other.index(way[-1])
    there = [*way[1:-1], *other[last:], *other[: last + 1], *reversed(way[1:-1])]
    return [*one[: first + 1], *there, *one[first:]]


def _corners(polygon: list[Point]) -> list[Point]:
    """Without the points that a straight line passes through."""
    points = np.asarray(polygon)
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    returns = (before * after).sum(axis=1) <= 0
    kept = points[turns | returns]
    return [(int(x), int(y)) for x, y in (kept if len(kept) else points[:1])]
