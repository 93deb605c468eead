"""A row of a dataset that others made, checked as a whole: every command reads rows through this.

A row of a stranger may name any file of this machine, claim any size, and leave out what it likes. What passes here can be
used without another look: pictures are decoded, masks fit them, lists have one length, numbers are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.dataset.image_io import Pixels, open_image, read_image, upright_size
from diffumask_datasets.dataset.objects import checked_objects
from diffumask_datasets.dataset.schema import (
    AMODAL,
    FILTERS,
    HEAT_MAPS,
    OPINIONS,
    THRESHOLD_CURVE,
    Row,
    decode_label,
    encoded_bytes,
)
from diffumask_datasets.dataset.values import INT64, class_id, finite, list_of, text, whole
from diffumask_datasets.errors import DataError, ExportError, ShapeError, short_repr
from diffumask_datasets.masks import rle
from diffumask_datasets.sample import IGNORE, ObjectAnnotation, check_sample_id

__all__ = ["CheckedRow"]


@dataclass(frozen=True, slots=True, eq=False)
class CheckedRow:
    """A ``default`` row that can be relied upon.

    ``row`` is the row itself, pictures as bytes and masks of objects as pycocotools writes them; ``picture`` is its image,
    decoded. ``values`` are those that ``label`` has, ascending. ``objects`` carry area and box of their mask, computed anew.
    """

    sample_id: str
    row: Row
    picture: Image.Image
    label: npt.NDArray[np.uint8]  # (height, width)
    values: tuple[int, ...]
    objects: tuple[ObjectAnnotation, ...]

    @property
    def pixels(self) -> Pixels:
        """The image upright as RGB, uint8 (height, width, 3), without decoding it again.

        Raises:
            DataError: values whose range is not clear.
        """
        return read_image(self.picture, name=f"the image of sample {self.sample_id}")

    @classmethod
    def of(cls, row: Mapping[str, Any], class_count: int) -> CheckedRow:
        """The row, whose images are encoded, of a dataset with the classes 1..``class_count``.

        Columns beside sample_id, image, label and objects may be missing.

        Raises:
            ExportError: anything that is not as the config ``default`` has it; the message names the sample.
        """
        try:
            sample_id = check_sample_id(row.get("sample_id"))
        except DataError as error:
            raise ExportError(str(error)) from error
        try:
            return _checked(row, sample_id, class_count)
        except (DataError, ShapeError) as error:
            raise ExportError(f"sample {sample_id}: {error}; repair or drop the sample") from error


def _checked(row: Mapping[str, Any], sample_id: str, class_count: int) -> CheckedRow:
    image, label_file = _bytes_of(row, "image"), _bytes_of(row, "label")
    picture = open_image(image, name="the image")
    label = decode_label(_cell(label_file), name="the mask")
    values = _values_in(label, class_count)
    height, width = upright_size(picture)
    if label.shape != (height, width):
        raise DataError(
            f"the image is {width}x{height} (width x height) but its mask is {label.shape[1]}x{label.shape[0]}"
        )
    cell, objects = checked_objects(row.get("objects"), label.shape, class_count)
    _check_described(row, class_count)
    pictures = {"image": _cell(image), "label": _cell(label_file)}
    kept = {
        **row,
        **pictures,
        "objects": cell,
        **_heat_maps(row, class_count),
        **_amodal(row, label.shape, len(objects)),
    }
    return CheckedRow(sample_id, kept, picture, label, values, objects)


def _bytes_of(row: Mapping[str, Any], column: str) -> bytes:
    try:
        return encoded_bytes(row.get(column))
    except DataError as error:
        raise DataError(f"{column}: {error}") from error


def _cell(data: bytes) -> Row:
    return {"bytes": data, "path": None}


def _values_in(label: npt.NDArray[np.uint8], class_count: int) -> tuple[int, ...]:
    # Pillow counts bytes several times as fast as numpy.
    values = tuple(value for value, count in enumerate(Image.fromarray(label).histogram()) if count)
    highest = max((value for value in values if value != IGNORE), default=0)
    if highest > class_count:
        raise DataError(
            f"class id {highest} in the mask, but the dataset names {class_count} classes; name the class in the features "
            "or set its pixels to 255"
        )
    return values


def _check_described(row: Mapping[str, Any], class_count: int) -> None:
    """What tells how the sample was made, as far as the row has it."""
    for name in ("prompt", "model"):
        if name in row:
            text(row[name], name)
    if "seed" in row:
        whole(row["seed"], "seed", low=-INT64 - 1)
    if "quality" in row:
        finite(row["quality"], "quality", low=0, high=1)
    classes = list_of(row.get("classes", []), "classes", lambda value: class_id(value, class_count))
    if "threshold" in row:
        list_of(row["threshold"], "threshold", lambda value: finite(value, "threshold"), length=len(classes))
    if row.get(THRESHOLD_CURVE) is not None:
        _check_curves(row[THRESHOLD_CURVE], class_count)
    if row.get(OPINIONS) is not None:
        _check_opinions(row[OPINIONS])


def _check_curves(cell: object, class_count: int) -> None:
    if not isinstance(cell, Mapping):
        raise DataError(f"{THRESHOLD_CURVE}: expected lists of category, gamma and score, got {short_repr(cell)}")
    classes = list_of(cell.get("category"), THRESHOLD_CURVE, lambda value: class_id(value, class_count))
    for name in ("gamma", "score"):
        list_of(cell.get(name), f"{THRESHOLD_CURVE}.{name}", _numbers, length=len(classes))


def _check_opinions(cell: object) -> None:
    if not isinstance(cell, Mapping):
        raise DataError(f"{OPINIONS}: expected scores by filter, got {short_repr(cell)}")
    for name in FILTERS:
        if cell.get(name) is not None:
            finite(cell[name], f"{OPINIONS}.{name}", low=0, high=1)


def _numbers(value: object) -> list[float]:
    return list_of(value, THRESHOLD_CURVE, lambda number: finite(number, THRESHOLD_CURVE))


def _heat_maps(row: Mapping[str, Any], class_count: int) -> Row:
    """The column, where the row has one: a soft map for each class, all of one size."""
    cell = row.get(HEAT_MAPS)
    if cell is None:
        return {}
    if not isinstance(cell, Mapping):
        raise DataError(f"{HEAT_MAPS}: expected lists of category and map, got {short_repr(cell)}")
    classes = list_of(cell.get("category"), HEAT_MAPS, lambda value: class_id(value, class_count))
    if len(set(classes)) < len(classes):
        raise DataError(f"{HEAT_MAPS}: a class comes twice among {short_repr(classes)}")
    files = list_of(cell.get("map"), f"{HEAT_MAPS}.map", _soft_map, length=len(classes))
    if len({shape for _, shape in files}) > 1:
        raise DataError(f"{HEAT_MAPS}: expected maps of one size, got {short_repr([shape for _, shape in files])}")
    return {HEAT_MAPS: {**cell, "map": [_cell(data) for data, _ in files]}}


def _amodal(row: Mapping[str, Any], shape: tuple[int, ...], count: int) -> Row:
    """The column, where the row has one: a mask for each object."""
    if row.get(AMODAL) is None:
        return {}
    masks = list_of(row[AMODAL], AMODAL, lambda item: dict(rle.checked(item, shape)), length=count)
    return {AMODAL: masks}


def _soft_map(cell: object) -> tuple[bytes, tuple[int, ...]]:
    try:
        data = encoded_bytes(cell)
        return data, decode_label(_cell(data), name="a soft map").shape
    except DataError as error:
        raise DataError(f"{HEAT_MAPS}: {error}") from error
