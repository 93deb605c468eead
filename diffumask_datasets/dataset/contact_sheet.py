"""A contact sheet to judge a dataset by: image | mask overlay | heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, decode_label, image_of, label_of
from diffumask_datasets.sample import BACKGROUND, IGNORE, id2label

__all__ = ["card_of", "class_colours", "contact_sheet", "heat_tile", "overlay", "sheet_of"]

Pixels = npt.NDArray[np.uint8]

TILE = 160
"""Longer side of a tile in pixels."""
CAPTION = 16
GAP = 8
HEAT_STOPS = np.linspace(0.0, 1.0, 5)
HEAT_COLOURS = np.array([(0, 0, 20), (80, 10, 110), (190, 50, 80), (250, 140, 30), (250, 250, 160)], dtype=float)


def contact_sheet(rows: Sequence[Row], classes: Sequence[str], *, columns: int = 3) -> Image.Image:
    """Draws rows as a grid of tiles: image, overlay and heat map (where kept), with prompt and quality.

    Args:
        rows: ``default`` rows.
        classes: The names of their class ids.
        columns: Tiles in a row.

    Returns:
        The picture.
    """
    return sheet_of([_card(row, classes) for row in rows], columns=columns)


def sheet_of(cards: Sequence[Image.Image], *, columns: int) -> Image.Image:
    """Cards in rows, each cell as large as the largest card."""
    width, height = (max(card.size[axis] for card in cards) for axis in (0, 1))
    columns = min(columns, len(cards))
    lines = -(-len(cards) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, lines * (height + GAP) + GAP), "white")
    for place, card in enumerate(cards):
        line, column = divmod(place, columns)
        sheet.paste(card, (GAP + column * (width + GAP), GAP + line * (height + GAP)))
    return sheet


OPACITY = 0.5
"""That of a mask over its image."""


def overlay(image: Pixels, label: Pixels) -> Pixels:
    """Draws the mask uint8 (height, width) over its image uint8 (height, width, 3), ignored pixels white.

    Masks are framed by a white line inside and a black one outside, each a pixel of a tile wide: on any colour one of the
    two is seen. Where masks touch, the black line lies in that of the lower class id.
    """
    weight = np.where(label == BACKGROUND, 0.0, OPACITY)[..., None]
    mixed: Pixels = np.round(image * (1 - weight) + class_colours()[label] * weight).astype(np.uint8)
    known = np.where(label == IGNORE, np.uint8(BACKGROUND), label)
    reach = 2 * max(1, round(max(label.shape) / TILE)) + 1
    mixed[_filtered(known, ImageFilter.MinFilter(reach)) < known] = 255
    mixed[_filtered(known, ImageFilter.MaxFilter(reach)) > known] = 0
    return mixed


def class_colours() -> Pixels:
    """(256, 3) colours of the class ids: the Pascal VOC colour map, in which 255 is off-white."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    shifts = 7 - np.arange(8) // 3
    channels = [sum(bits[:, bit] << shifts[bit] for bit in range(channel, 8, 3)) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _card(row: Row, classes: Sequence[str]) -> Image.Image:
    image, label = image_of(row), label_of(row)
    names = id2label(classes)
    found = ", ".join(names[class_id] for class_id in row["classes"]) or "no mask"
    caption = f"{found} · quality {row['quality']:.2f} · {row['prompt']}"
    return card_of([image, overlay(image, label), *_heat_tiles(row)], caption=caption)


def card_of(tiles: Sequence[Pixels], *, caption: str) -> Image.Image:
    """Tiles side by side, all as large as the first, with a line of text under them."""
    height, width = tiles[0].shape[:2]
    scale = TILE / max(height, width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    card = Image.new("RGB", (len(tiles) * size_wh[0], size_wh[1] + CAPTION), "white")
    for place, tile in enumerate(tiles):
        card.paste(Image.fromarray(tile).resize(size_wh, Image.Resampling.LANCZOS), (place * size_wh[0], 0))
    ImageDraw.Draw(card).text((2, size_wh[1] + 2), caption, fill="black")
    return card


def _heat_tiles(row: Row) -> list[Pixels]:
    if not row.get(HEAT_MAPS):
        return []
    maps: list[Any] = [decode_label(cell) for cell in row[HEAT_MAPS]["map"]]
    return [heat_tile(np.stack(maps))]


def heat_tile(maps: Pixels) -> Pixels:
    """The strongest of the heat maps (classes, height, width) at each pixel, in colours (height, width, 3)."""
    strongest = maps.max(axis=0) / 255.0
    channels = [np.interp(strongest, HEAT_STOPS, HEAT_COLOURS[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def _filtered(label: Pixels, how: ImageFilter.Filter) -> Pixels:
    return np.asarray(Image.fromarray(label).filter(how))
