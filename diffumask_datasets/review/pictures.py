"""The pictures of a sample on the review page, as data URIs: image, mask, heat map, raw mask."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, soft_maps_of
from diffumask_datasets.review.features import raw_masks

__all__ = ["pictures_of"]

LONGER_SIDE = 320
"""Pixels of a picture on the page; masks are shrunk without mixing class ids."""

JPEG_QUALITY = 82

COLOURS = 256
"""Entries of a palette."""

LEVELS = 32
"""The most levels of a heat map: the eye tells no more apart, and a picture of few colours is small."""

Label = npt.NDArray[np.uint8]


def pictures_of(row: Row, image: Pixels, label: Label, *, normalization: str | None) -> list[str]:
    """Image and mask of a row, and where it has heat maps also heat map and raw mask.

    Args:
        row: The row.
        image: Its image, uint8 (height, width, 3).
        label: Its mask, uint8 (height, width).
        normalization: The recipe's ``heat_normalization``.

    Returns:
        Their data URIs.
    """
    picture = Image.fromarray(image)
    size_wh = _fitted(picture.size)
    jpeg = picture.resize(size_wh, Image.Resampling.LANCZOS)
    pictures = [_data_uri(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0), _mask(label, size_wh)]
    heat = row.get(HEAT_MAPS)
    if heat and heat["map"]:
        raw = np.zeros_like(label)
        for class_id, mask in raw_masks(row, label.shape, normalization).items():
            raw[mask] = class_id
        pictures += [_heat(row, size_wh), _mask(raw, size_wh)]
    return pictures


def _mask(label: Label, size_wh: tuple[int, int]) -> str:
    """Class ids in their colours, background transparent."""
    picture = Image.fromarray(label).resize(size_wh, Image.Resampling.NEAREST)
    picture.putpalette(class_colours().tobytes())
    return _data_uri(picture, "PNG", transparency=0)


def _heat(row: Row, size_wh: tuple[int, int]) -> str:
    """The heat maps in the colours of their classes, the strongest at each place, the more opaque the hotter."""
    class_ids, soft_maps = soft_maps_of(row)
    levels = min(LEVELS, COLOURS // len(class_ids))
    strongest = soft_maps.argmax(axis=0)
    level = soft_maps.max(axis=0).astype(np.int64) * (levels - 1) // 255
    picture = Image.fromarray((strongest * levels + level).astype(np.uint8))
    picture.thumbnail(size_wh, Image.Resampling.NEAREST)
    picture.putpalette(class_colours()[list(class_ids)].repeat(levels, axis=0).astype(np.uint8).tobytes())
    opacity = np.tile(np.linspace(0, 255, levels).astype(np.uint8), len(class_ids))
    return _data_uri(picture, "PNG", transparency=opacity.tobytes())


def _data_uri(picture: Image.Image, file_format: str, **how: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **how)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _fitted(size_wh: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LONGER_SIDE / max(size_wh))
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))
