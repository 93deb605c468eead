"""COCO run-length encoding of binary masks: column-major runs, compressed to ASCII, as pycocotools writes them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from diffumask_datasets.sample import Rle, check_array

__all__ = ["area", "bbox_xywh", "decode", "encode", "encode_instances"]


def encode(mask: npt.NDArray[np.bool_]) -> Rle:
    """The run-length encoding of a bool mask (height, width), holes and separate parts included.

    Raises:
        ShapeError: not a bool array of two dimensions.
    """
    height, width = check_array("mask", mask, shape=("height", "width"), dtype="bool")
    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[height, width], counts=runs["counts"].decode("ascii"))


def encode_instances(instances: npt.NDArray[np.integer[Any]], count: int) -> list[Rle]:
    """The run-length encodings of the masks ``instances == 1`` to ``instances == count``, all in one pass.

    ``instances`` is (height, width) with 0 for none; each encoding equals what :func:`encode` gives for that mask.
    """
    height, width = instances.shape
    pixels = np.ascontiguousarray(instances.T).ravel()  # (width * height,): column-major, as COCO counts
    starts = np.concatenate([[0], np.flatnonzero(pixels[1:] != pixels[:-1]) + 1])
    ends = np.append(starts[1:], pixels.size)
    owners = pixels[starts]
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(1, count + 2))
    encoded = []
    for first, last in itertools.pairwise(bounds):
        runs = order[first:last]
        # A mask is off up to its first run, then on and off in turns.
        edges = np.stack([starts[runs], ends[runs]], axis=1).ravel()  # (2 * runs,)
        counts = np.diff(edges, prepend=0, append=pixels.size)
        if len(counts) > 1 and counts[-1] == 0:
            counts = counts[:-1]
        packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
        encoded.append(Rle(size=[height, width], counts=packed["counts"].decode("ascii")))
    return encoded


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
