"""COCO run-length encoding of binary masks: column-major runs, compressed to ASCII, as pycocotools writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from diffumask_datasets.sample import Rle, check_array

__all__ = ["area", "bbox_xywh", "decode", "encode"]


def encode(mask: npt.NDArray[np.bool_]) -> Rle:
    """The run-length encoding of a bool mask (height, width), holes and separate parts included.

    Raises:
        ShapeError: not a bool array of two dimensions.
    """
    height, width = check_array("mask", mask, shape=("height", "width"), dtype="bool")
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[height, width], counts=runs["counts"].decode("ascii"))


def decode(rle: Rle) -> npt.NDArray[np.bool_]:
    """The bool mask (height, width) that :func:`encode` was given."""
    return np.ascontiguousarray(coco_mask.decode(_as_pycocotools(rle)), dtype=np.bool_)


def area(rle: Rle) -> int:
    """The number of pixels in the mask."""
    return int(coco_mask.area(_as_pycocotools(rle)))


def bbox_xywh(rle: Rle) -> tuple[float, float, float, float]:
    """The tight box around the mask, in pixels: left, top, width, height; all 0.0 for an empty mask."""
    left, top, width, height = coco_mask.toBbox(_as_pycocotools(rle)).tolist()
    return left, top, width, height


def _as_pycocotools(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}
