"""What every format speaks of: the dataset as a whole, one sample of it, and one finished sample of an export."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from diffumask_datasets.columns import REQUIRED, Row, encoded_bytes, image_of, label_of, objects_of, png_cell
from diffumask_datasets.errors import DataError, ExportError
from diffumask_datasets.image_io import is_upright, open_image, upright_size
from diffumask_datasets.masks import rle
from diffumask_datasets.sample import BACKGROUND, IGNORE, ObjectAnnotation, Rle

__all__ = ["Contents", "ExportSample", "Loss", "Part", "Record", "short_split"]

Record = dict[str, Any]
"""What a writer keeps of a sample until the files that gather all samples are written; plain JSON."""

SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}

_LEGAL_ID = re.compile(r"\w[\w.-]*")


def short_split(split: str) -> str:
    """``validation`` → ``val``, as most formats call it; other names stay as they are."""
    return SPLIT_NAMES.get(split, split)


@dataclass(frozen=True)
class Contents:
    """The dataset as a whole: the names of class ids 1..K, and its splits in order."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]


class Loss(NamedTuple):
    """What a file cannot hold: how many objects come back with other pixels, and the lowest IoU among them."""

    objects: int
    lowest_iou: float


@dataclass(frozen=True)
class Part:
    """One finished sample: whole files, bytes appended to files that several samples share, and what to remember.

    Paths are relative to the export, with ``/`` between folders. ``losses`` names the files that hold less than the
    sample because the format has no room for it; the manifest lists them.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    record: Record = field(default_factory=dict)
    appended: Mapping[str, bytes] = field(default_factory=dict)
    losses: Mapping[str, Loss] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportSample:
    """A row, checked. ``ordinal`` counts from 1 over all splits, ``position`` from 0 in its split.

    ``image`` is the encoded file as the dataset holds it, or upright as PNG where a camera's orientation turns it.
    ``values`` are those that ``label`` has. ``objects`` carry area and box of their mask, computed anew. ``row`` is for
    what describes the sample beyond that.
    """

    sample_id: str
    split: str
    ordinal: int
    position: int
    image: bytes
    image_format: str
    label: npt.NDArray[np.uint8]  # (height, width)
    values: tuple[int, ...]
    objects: tuple[ObjectAnnotation, ...]
    row: Row

    @classmethod
    def of(cls, row: Row, *, split: str, ordinal: int, position: int, class_count: int) -> ExportSample:
        """The sample of a ``default`` row whose images are encoded.

        Raises:
            ExportError: an id that cannot be a file name, an unreadable image, sizes that differ, a class id outside
                0..``class_count`` and 255, or an object without pixels.
        """
        sample_id = str(row["sample_id"])
        if not _LEGAL_ID.fullmatch(sample_id):
            raise ExportError(
                f"sample_id {sample_id!r} cannot be a file name: letters, digits, '_', '-' and '.' only; rename it"
            )
        image, image_format, size = _read_image(row, sample_id)
        label, values = _read_label(row, sample_id, class_count)
        height, width = label.shape
        if size != (height, width):
            raise ExportError(
                f"sample {sample_id}: the image is {size[1]}x{size[0]} (width x height) but its mask is "
                f"{width}x{height}; mend or drop the sample"
            )
        objects = tuple(_measured(found, sample_id, label.shape, class_count) for found in objects_of(row))
        return cls(sample_id, split, ordinal, position, image, image_format, label, values, objects, row)

    @property
    def height(self) -> int:
        """Pixels."""
        return len(self.label)

    @property
    def width(self) -> int:
        """Pixels."""
        return len(self.label[0])

    @property
    def short_split(self) -> str:
        """The split as most formats call it."""
        return short_split(self.split)

    @property
    def masks(self) -> list[npt.NDArray[np.bool_]]:
        """(height, width) of each object, decoded at each call."""
        return [rle.decode(found.segmentation) for found in self.objects]

    def places(self) -> npt.NDArray[np.integer[Any]]:
        """(height, width): 0, or the place from 1 in ``objects`` of the object that holds the pixel.

        8-bit numbers as far as they reach: every pass over them costs a quarter of 32-bit ones.

        Raises:
            ExportError: two objects hold one pixel; a picture has room for one of them only.
        """
        # (width, height), as run lengths go; only the box of each object is touched.
        narrow = np.uint8 if len(self.objects) <= IGNORE else np.int32
        places = np.zeros((self.width, self.height), dtype=narrow)
        for place, found in enumerate(self.objects, start=1):
            left, top, width, height = (round(number) for number in found.bbox_xywh)
            box = (slice(left, left + width), slice(top, top + height))
            mask, window = _columns_of(found.segmentation)[box], places[box]
            taken = window[mask].max()
            if taken:
                raise ExportError(
                    f"sample {self.sample_id}: objects {self.objects[taken - 1].instance_id} and {found.instance_id} "
                    "overlap, and this format keeps one object a pixel; export as coco, which keeps both"
                )
            window[mask] = place
        return np.ascontiguousarray(places.T)

    @property
    def visible(self) -> list[int]:
        """Class ids that the mask or the objects show, ascending."""
        present = set(self.values) | {found.category for found in self.objects}
        return sorted(present - {BACKGROUND, IGNORE})

    @cached_property
    def digest(self) -> str:
        """Hex digest of what is exported: the encoded image and mask, and the objects."""
        sha = hashlib.sha256(self.sample_id.encode())
        for data in (self.image, encoded_bytes(self.row["label"]), json.dumps(self.row["objects"]).encode()):
            sha.update(len(data).to_bytes(8, "big"))
            sha.update(data)
        return sha.hexdigest()


def _columns_of(run: Rle) -> npt.NDArray[np.bool_]:
    """(width, height) of a mask, contiguous, as pycocotools has it before anything is copied."""
    mask = coco_mask.decode({"size": run["size"], "counts": run["counts"].encode("ascii")})
    columns: npt.NDArray[np.bool_] = mask.T.view(np.bool_)
    return columns


def check_columns(columns: list[str]) -> None:
    """Raises ExportError where a needed column is missing."""
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ExportError(
            f"the dataset has no column {', '.join(missing)} (it has {', '.join(columns)}); "
            "export the config 'default' of a diffumask dataset"
        )


def _read_image(row: Row, sample_id: str) -> tuple[bytes, str, tuple[int, int]]:
    """The encoded image, its format and its (height, width). One that its camera turned is stored upright."""
    with _named(f"sample {sample_id}: the image"):
        data = encoded_bytes(row["image"])
        picture = open_image(data, name=f"the image of sample {sample_id}")
        if is_upright(picture):
            return data, str(picture.format), upright_size(picture)
        upright = image_of(row)
        return encoded_bytes(png_cell(upright)), "PNG", (len(upright), len(upright[0]))


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise ExportError(str(error)) from error
    except (OSError, TypeError) as error:
        raise ExportError(f"{what} cannot be read: {error}; mend or drop the sample") from error


def _read_label(row: Row, sample_id: str, class_count: int) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    with _named(f"sample {sample_id}: the mask"):
        label = label_of(row)
    values = _values_in(label)
    highest = max((value for value in values if value != IGNORE), default=0)
    if highest > class_count:
        raise ExportError(
            f"sample {sample_id}: class id {highest} in the mask, but the dataset names {class_count} classes; "
            "name the class in the features or set its pixels to 255"
        )
    return label, values


def _values_in(label: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The values that occur, ascending. Pillow counts bytes several times as fast as numpy."""
    return tuple(value for value, count in enumerate(Image.fromarray(label).histogram()) if count)


def _measured(found: ObjectAnnotation, sample_id: str, shape: tuple[int, ...], class_count: int) -> ObjectAnnotation:
    place = f"sample {sample_id}: object {found.instance_id}"
    if tuple(found.segmentation["size"]) != shape:
        raise ExportError(f"{place}: its mask is {found.segmentation['size']}, the image's {list(shape)}")
    if not 1 <= found.category <= class_count:
        raise ExportError(f"{place}: class id {found.category} is not one of 1..{class_count}")
    area = rle.area(found.segmentation)
    if not area:
        raise ExportError(f"{place} has no pixels; drop it from the dataset")
    box = rle.bbox_xywh(found.segmentation)
    return ObjectAnnotation(found.instance_id, found.category, box, area, found.segmentation, found.score)
