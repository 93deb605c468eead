"""From a decoded mask to its exact values: grey levels, palette indices, or colours by a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import DataError

__all__ = ["WIDE_MODES", "Colour", "ColourTable", "Pixels", "label_values"]

Pixels = npt.NDArray[np.uint8]

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of more than 8 bits."""

_OPAQUE = {"RGBA": "RGB", "LA": "L", "PA": "P"}
"""Modes with alpha, and the mode that keeps their values without it."""


@dataclass(frozen=True)
class ColourTable:
    """The mask values that RGB colours stand for.

    Where ``indexed``, grey values and palette indices are mask values themselves, and only masks that show nothing but
    colours of the table are read by it; otherwise every mask is.
    """

    values: Mapping[Colour, int]
    indexed: bool = False


def label_values(picture: Image.Image, colours: ColourTable | None) -> Pixels:
    """The values of a mask, uint8 (height, width), not turned; see :func:`diffumask_datasets.dataset.image_io.read_label`.

    Raises:
        DataError: values that are not exact, not known or above 255.
    """
    picture = _without_alpha(picture)
    by_colour = picture.mode in ("RGB", "L", "P", "1") and colours is not None and not colours.indexed
    if picture.mode == "RGB" or by_colour:
        if colours is None:
            raise DataError("expected a mask with one channel of class ids, got colours (mode RGB) and no colour table")
        return _values_of(np.asarray(picture.convert("RGB")), colours.values)
    if picture.mode == "P":
        return _indices(picture, colours.values if colours else {})
    if picture.mode in ("1", "L"):
        return np.asarray(picture).astype(np.uint8)
    if picture.mode in WIDE_MODES:
        return _narrowed(np.asarray(picture))
    raise DataError(f"expected a mask with one channel of class ids, got mode {picture.mode}; save it as 8-bit PNG")


def _narrowed(values: npt.NDArray[Any]) -> Pixels:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise DataError(f"expected mask values from 0 to 255, got {low if low < 0 else high}; renumber the classes")
    return values.astype(np.uint8)


def _without_alpha(picture: Image.Image) -> Image.Image:
    if picture.mode not in _OPAQUE:
        return picture
    if picture.getchannel("A").getextrema() != (255, 255):
        raise DataError("the mask has transparent pixels; save it without an alpha channel")
    return picture.convert(_OPAQUE[picture.mode])


def _indices(picture: Image.Image, colours: Mapping[Colour, int]) -> Pixels:
    """The palette's indices; values of ``colours`` where all colours that are shown stand there."""
    indices: Pixels = np.asarray(picture)
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if used[-1] >= len(palette):
        return indices
    shown = [tuple(colour) for colour in palette[used].tolist()]
    if not all(colour in colours for colour in shown):
        if picture.format == "GIF" and shown != [(value, value, value) for value in used.tolist()]:
            raise DataError("GIF renumbers the values of a mask; save masks as PNG, or give a table of their colours")
        return indices
    table = np.zeros(256, dtype=np.uint8)
    table[used] = [colours[colour] for colour in shown]
    return table[indices]


def _values_of(rgb: Pixels, colours: Mapping[Colour, int]) -> Pixels:
    wide = rgb.astype(np.int32)
    codes = (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).ravel()
    # Masks are long runs of one colour: each run is looked up once.
    starts = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])
    ordered = sorted((red << 16 | green << 8 | blue, value) for (red, green, blue), value in colours.items())
    known, values = (np.array(column) for column in zip(*ordered, strict=True))
    places = np.minimum(np.searchsorted(known, codes[starts]), len(known) - 1)
    strange = starts[known[places] != codes[starts]]
    if strange.size:
        colour = tuple(rgb.reshape(-1, 3)[strange[0]].tolist())
        raise DataError(f"the colour {colour} of the mask is not in its colour table; add it there")
    found = np.repeat(values.astype(np.uint8)[places], np.diff(starts, append=codes.size))
    return found.reshape(rgb.shape[:2])
