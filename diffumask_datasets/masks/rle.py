"""COCO run-length encoding of binary masks: column-major runs, compressed to ASCII, as pycocotools writes them.

pycocotools reads whatever it is given: counts that end early leave the rest of a mask uninitialised, and ``size`` decides
how much memory is taken. Nothing is decoded here before the runs are known to add up to the size.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from diffumask_datasets.errors import ShapeError
from diffumask_datasets.sample import Rle, check_array

__all__ = ["area", "bbox_xywh", "checked", "decode", "decode_columns", "encode", "encode_instances"]

Runs = npt.NDArray[np.int64]
"""Lengths of the runs, off and on in turns, beginning with off."""

FIRST_CHARACTER, MORE, SIGN, PAYLOAD, PAYLOAD_BITS = 48, 32, 16, 31, 5
"""A number is written in characters from "0" on: five bits each, one bit that says that more follow, the last signed."""

LONGEST_NUMBER = 7
"""Characters; pycocotools counts in 32 bits."""


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


def checked(segmentation: object, shape: tuple[int, ...]) -> Rle:
    """A foreign encoding of a mask of ``shape`` (height, width), once it is known to be one.

    ``counts`` may be compressed, text or bytes, or a list of runs; they come back as pycocotools writes them.

    Raises:
        ShapeError: no run-length encoding, another size, or runs that do not add up to it.
    """
    rle = _as_rle(segmentation, shape)
    # pycocotools takes a run of no length for a pixel when it looks for the box.
    return rle if _runs(rle)[1:].all() else encode(decode(rle, shape))


def decode(segmentation: object, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The bool mask of ``shape`` (height, width) that :func:`encode` was given.

    Raises:
        ShapeError: as :func:`checked`.
    """
    return np.ascontiguousarray(decode_columns(segmentation, shape).T)


def decode_columns(segmentation: object, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The transpose of what :func:`decode` gives, (width, height): the order of the runs, so that nothing is copied.

    Raises:
        ShapeError: as :func:`checked`.
    """
    runs = _runs(_as_rle(segmentation, shape))
    height, width = shape
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)


def area(rle: Rle) -> int:
    """The number of pixels in the mask, for an encoding of ours or one that was :func:`checked`."""
    return int(coco_mask.area(_as_pycocotools(rle)))


def bbox_xywh(rle: Rle) -> tuple[float, float, float, float]:
    """The tight box around the mask, in pixels: left, top, width, height; all 0.0 for an empty mask.

    The encoding is one of ours or was :func:`checked`.
    """
    left, top, width, height = coco_mask.toBbox(_as_pycocotools(rle)).tolist()
    return left, top, width, height


def _as_pycocotools(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}


def _as_rle(segmentation: object, shape: tuple[int, ...]) -> Rle:
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= segmentation.keys():
        raise ShapeError(f"RLE: expected size and counts, got {_short(segmentation)}")
    size, counts = segmentation["size"], segmentation["counts"]
    if not (isinstance(size, Sequence) and len(size) == 2 and all(map(_is_length, size)) and 0 not in size):
        raise ShapeError(f"RLE: expected size [height, width], got {_short(size)}")
    if list(size) != list(shape):
        raise ShapeError(f"RLE: expected a mask of {list(shape)} [height, width], got size {list(size)}")
    height, width = size
    return Rle(size=[height, width], counts=_as_text(counts, height, width))


def _as_text(counts: object, height: int, width: int) -> str:
    if isinstance(counts, str):
        return counts
    if isinstance(counts, bytes):
        return counts.decode("latin-1")  # what is no ASCII is refused with the rest of its characters
    if not isinstance(counts, Sequence) or not all(map(_is_length, counts)):
        raise ShapeError(f"RLE: expected counts as text or as run lengths, got {_short(counts)}")
    _check_sum(sum(counts), height, width)
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
    return str(packed["counts"].decode("ascii"))


def _is_length(number: object) -> bool:
    # Of 32 bits, as pycocotools has them; True is no number.
    return type(number) is int and 0 <= number < 2**31


def _runs(rle: Rle) -> Runs:
    """The lengths, which add up to height times width."""
    runs = _differences(rle["counts"])
    # Each length is that of two runs before, and a difference; the first three stand for themselves.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min(initial=0) < 0:
        raise ShapeError(f"RLE: counts {_short(rle['counts'])} hold a run of negative length")
    height, width = rle["size"]
    _check_sum(int(runs.sum()), height, width)
    return runs


def _differences(counts: str) -> Runs:
    characters = (
        np.frombuffer(counts.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int64) - FIRST_CHARACTER
    )
    ends = np.flatnonzero(characters & MORE == 0)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends + 1 - starts
    if (
        not len(ends)
        or ends[-1] != len(characters) - 1
        or characters.min() < 0
        or characters.max() >= 2 * MORE
        or lengths.max() > LONGEST_NUMBER
    ):
        raise ShapeError(f"RLE: {_short(counts)} are no counts that pycocotools writes")
    places = np.arange(len(characters)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((characters & PAYLOAD) << (PAYLOAD_BITS * places), starts)
    negative = (characters[ends] & SIGN) != 0
    runs: Runs = numbers - (negative.astype(np.int64) << (PAYLOAD_BITS * lengths))
    return runs


def _check_sum(pixels: int, height: int, width: int) -> None:
    if pixels != height * width:
        raise ShapeError(f"RLE: the runs cover {pixels} pixels of {height * width} ({height}x{width}, height x width)")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
