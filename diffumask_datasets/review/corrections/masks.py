"""Edits as pictures: the masks of a VOC tree, or of an image folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.image_io import open_image, read_label
from diffumask_datasets.dataset.mask_decoding import Colour, ColourTable
from diffumask_datasets.errors import DataError, ReviewError
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.text_lists import read_lines
from diffumask_datasets.review.corrections.edit import Edit, Edits, Mask, Shape, check_shape, class_id_of, unique
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE

__all__ = ["read_imagefolder", "read_voc"]

VOC_MASKS, VOC_OBJECTS, VOC_LABELS = "SegmentationClass", "SegmentationObject", "labelmap.txt"
VOC_VOID: Colour = (224, 224, 192)
VOC_NO_CLASS = {BACKGROUND_NAME: BACKGROUND, "ignored": IGNORE, "void": IGNORE}

FOLDER_MASKS, FOLDER_LABELS = "labels", "id2label.json"


def read_voc(folder: Path, classes: Sequence[str]) -> Edits:
    """Reads the masks of ``SegmentationClass`` by the colours of ``labelmap.txt``, and those of ``SegmentationObject``.

    Raises:
        ReviewError: A folder or file is missing, two masks are of one sample, or a class is unknown.
    """
    files = unique(folder.rglob(f"{VOC_MASKS}/*.png"))
    tables = sorted(folder.rglob(VOC_LABELS))
    if not files or len(tables) != 1:
        raise ReviewError(
            f"{folder}: expected {VOC_MASKS}/*.png and one {VOC_LABELS}, got {len(files)} masks and {len(tables)} tables"
        )
    colours = ColourTable(dict(_voc_colours(tables[0], classes)) | {VOC_VOID: IGNORE})
    samples = {sample_id: partial(_voc_edit, path=path, colours=colours) for sample_id, path in files.items()}
    return Edits(samples, dict.fromkeys(samples, ""))


def read_imagefolder(folder: Path, classes: Sequence[str]) -> Edits:
    """Reads the masks of the folders ``labels`` by the names of ``id2label.json``.

    Raises:
        ReviewError: A folder or file is missing, two masks are of one sample, or a class is unknown.
    """
    files = unique(folder.rglob(f"{FOLDER_MASKS}/*.png"))
    if not files:
        raise ReviewError(f"{folder}: expected {FOLDER_MASKS}/*.png, got none")
    path = folder / FOLDER_LABELS
    names = read_json(path, what="the class names", error=ReviewError)
    if not isinstance(names, dict) or not all(_is_value(value) for value in names):
        raise ReviewError(f"{path}: expected the values of the masks and their classes, e.g. {{'1': 'car'}}")
    table = {IGNORE: IGNORE} | {
        int(value): BACKGROUND if name == BACKGROUND_NAME else class_id_of(name, classes, where=str(path))
        for value, name in names.items()
    }
    samples = {sample_id: partial(_folder_edit, path=mask, table=table) for sample_id, mask in files.items()}
    return Edits(samples, dict.fromkeys(samples, ""))


def _is_value(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= IGNORE


def _folder_edit(shape: Shape, *, path: Path, table: Mapping[int, int]) -> Edit:
    values = _label(path, None, shape)
    strange = sorted(set(np.unique(values).tolist()) - table.keys())
    if strange:
        raise ReviewError(f"{path}: {FOLDER_LABELS} names no class {strange[0]}")
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[list(table)] = list(table.values())
    return Edit(label=numbers[values])


def _voc_edit(shape: Shape, *, path: Path, colours: ColourTable) -> Edit:
    label = _label(path, colours, shape)
    beside = path.parent.with_name(VOC_OBJECTS) / path.name
    if not beside.is_file():
        return Edit(label=label)
    return Edit(list(_objects(beside, label)), label)


def _objects(path: Path, label: npt.NDArray[np.uint8]) -> Iterator[tuple[int, Mask]]:
    """The objects of a picture, each of the class that most of its pixels have; the others are no part of it."""
    numbers, nothing = _numbers(path)
    check_shape(numbers.shape, (label.shape[0], label.shape[1]), where=str(path))
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        counts = np.bincount(label[inside], minlength=256)
        counts[[BACKGROUND, IGNORE]] = 0
        if number not in nothing and counts.any():
            category = int(counts.argmax())
            yield category, inside & (label == category)


def _numbers(path: Path) -> tuple[npt.NDArray[np.int64], frozenset[int]]:
    """A number for each object, and those that stand for none: palette indices where there are some, else colours."""
    try:
        picture = open_image(path)
    except DataError as error:
        raise ReviewError(str(error)) from error
    if picture.mode in ("P", "L"):
        return np.asarray(picture).astype(np.int64), frozenset({BACKGROUND, IGNORE})
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(np.int64), -1, 0)
    void = VOC_VOID[0] << 16 | VOC_VOID[1] << 8 | VOC_VOID[2]
    return red << 16 | green << 8 | blue, frozenset({0, void})


def _label(path: Path, colours: ColourTable | None, shape: Shape) -> npt.NDArray[np.uint8]:
    try:
        label = read_label(path, colours=colours)
    except DataError as error:
        raise ReviewError(str(error)) from error
    check_shape(label.shape, shape, where=str(path))
    return label


def _voc_colours(path: Path, classes: Sequence[str]) -> Iterator[tuple[Colour, int]]:
    try:
        lines = read_lines(path)
    except DataError as error:
        raise ReviewError(str(error)) from error
    for line in lines:
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.partition(":")[0].split(",")
        if len(numbers) != 3 or not all(_is_value(number.strip()) for number in numbers):
            raise ReviewError(f"{path}: expected lines like 'car:128,0,0::', got {line[:60]!r}")
        red, green, blue = (int(number) for number in numbers)
        known = VOC_NO_CLASS.get(name)
        yield (red, green, blue), class_id_of(name, classes, where=str(path)) if known is None else known
