"""What every format speaks of: the dataset as a whole, one sample of it, and one finished sample of an export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.image_io import is_upright
from diffumask_datasets.dataset.schema import Row, encoded_bytes, png_cell
from diffumask_datasets.errors import ExportError
from diffumask_datasets.masks import rle
from diffumask_datasets.sample import BACKGROUND, IGNORE, ObjectAnnotation

__all__ = ["Contents", "ExportSample", "Loss", "Part", "Record", "short_split"]

Record = dict[str, Any]
"""What a writer keeps of a sample until the files that gather all samples are written; plain JSON."""

SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}


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

    ``image`` is the encoded file as the dataset holds it, or upright as PNG where a camera's orientation turns it;
    ``picture`` is it decoded, for formats that want another file.
    ``values`` are those that ``label`` has. ``objects`` carry area and box of their mask, computed anew. ``row`` is for
    what describes the sample beyond that.
    """

    sample_id: str
    split: str
    ordinal: int
    position: int
    picture: Image.Image
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
            ExportError: as :meth:`diffumask_datasets.dataset.checked_row.CheckedRow.of`.
        """
        checked = CheckedRow.of(row, class_count)
        upright = is_upright(checked.picture)
        return cls(
            checked.sample_id,
            split,
            ordinal,
            position,
            checked.picture,
            encoded_bytes(checked.row["image"] if upright else png_cell(checked.pixels)),
            str(checked.picture.format) if upright else "PNG",
            checked.label,
            checked.values,
            checked.objects,
            checked.row,
        )

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
        return [rle.decode(found.segmentation, self.label.shape) for found in self.objects]

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
            mask, window = rle.decode_columns(found.segmentation, self.label.shape)[box], places[box]
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
        for data in (self.image, self.row["label"]["bytes"], json.dumps(self.row["objects"]).encode()):
            sha.update(len(data).to_bytes(8, "big"))
            sha.update(data)
        return sha.hexdigest()
