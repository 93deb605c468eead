"""Edits in LabelMe's JSON files: polygons, rectangles, circles and masks, drawn as LabelMe does."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from diffumask_datasets.dataset.image_io import read_label
from diffumask_datasets.dataset.values import finite
from diffumask_datasets.errors import DataError, ReviewError
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.review.corrections.edit import Edit, Edits, Mask, Shape, check_shape, class_id_of, unique

__all__ = ["read_labelme"]

MOST_BYTES = 2**28
"""Of one file, which may hold its image."""

FARTHEST = 8
"""Times the longer side: Pillow takes time for all that is drawn, inside the image or not."""

Points = list[tuple[float, float]]


def read_labelme(folder: Path, classes: Sequence[str]) -> Edits:
    """Reads every JSON file below the folder that has the shapes of LabelMe.

    Raises:
        ReviewError: There is none, or two of one sample.
    """
    # The manifest of an export lies beside them.
    files = unique(path for path in folder.rglob("*.json") if path.name != "diffumask-export.json")
    if not files:
        raise ReviewError(f"{folder}: expected JSON files of LabelMe, got none")
    samples = {sample_id: partial(_edit, path=path, classes=classes) for sample_id, path in files.items()}
    return Edits(samples, dict.fromkeys(samples, ""))


def _edit(shape: Shape, *, path: Path, classes: Sequence[str]) -> Edit:
    document = read_json(path, what="the shapes", error=ReviewError, most_bytes=MOST_BYTES)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise ReviewError(f"{path}: expected LabelMe's JSON with 'shapes'")
    check_shape((document.get("imageHeight"), document.get("imageWidth")), shape, where=str(path))
    objects: dict[Any, tuple[int, Mask]] = {}
    for number, drawn in enumerate(document["shapes"], start=1):
        where = f"{path}, shape {number}"
        if not isinstance(drawn, dict):
            raise ReviewError(f"{where}: expected label and points")
        category = class_id_of(drawn.get("label"), classes, where=where)
        mask = _mask(drawn, shape, where=where)
        group = drawn.get("group_id")
        # The parts of one object share a group; without one each shape is an object.
        key = ("shape", number) if group is None else ("group", category, str(group))
        objects[key] = (category, mask | objects[key][1] if key in objects else mask)
    return Edit(list(objects.values()))


def _mask(drawn: Mapping[str, Any], shape: Shape, *, where: str) -> Mask:
    kind = drawn.get("shape_type") or "polygon"
    try:
        points = _points(drawn.get("points"), shape)
        mask = _pasted(drawn.get("mask"), points, shape) if kind == "mask" else _rasterized(kind, points, shape)
    except DataError as error:
        raise ReviewError(f"{where}: {error}") from error
    if not mask.any():
        raise ReviewError(f"{where} has no pixels: draw it inside the image, or delete it")
    return mask


def _points(cell: object, shape: Shape) -> Points:
    if not isinstance(cell, list) or not all(isinstance(point, list) and len(point) == 2 for point in cell):
        raise DataError("expected points as [[x, y], …]")
    points = [(finite(x, "x"), finite(y, "y")) for x, y in cell]
    if any(abs(number) > FARTHEST * max(shape) for point in points for number in point):
        raise DataError(f"a point lies more than {FARTHEST} times the image away")
    return points


def _rasterized(kind: object, points: Points, shape: Shape) -> Mask:
    height, width = shape
    canvas = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(canvas)
    if kind == "polygon" and len(points) > 2:
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle" and len(points) == 2:
        (left, right), (top, bottom) = (sorted(axis) for axis in zip(*points, strict=True))
        draw.rectangle((left, top, right, bottom), fill=1, outline=1)
    elif kind == "circle" and len(points) == 2:
        (x, y), radius = points[0], math.dist(*points)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    else:
        raise DataError(f"a {kind} of {len(points)} points has no area; draw a polygon, rectangle, circle or mask")
    return np.asarray(canvas) > 0


def _pasted(text: object, points: Points, shape: Shape) -> Mask:
    """A mask as LabelMe keeps it: a PNG of the box between two points."""
    if not isinstance(text, str) or len(points) != 2:
        raise DataError("expected a mask as a picture in base64 and two points")
    try:
        values = read_label(base64.b64decode(text, validate=True), name="the mask") > 0
    except binascii.Error as error:
        raise DataError(f"the mask is no base64: {error}") from error
    left, top = (round(number) for number in points[0])
    height, width = values.shape
    if left < 0 or top < 0 or top + height > shape[0] or left + width > shape[1]:
        raise DataError(f"the mask of {width}x{height} at {left}, {top} leads out of the image")
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + height, left : left + width] = values
    return mask
