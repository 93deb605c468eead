"""``diffumask show``: the contact sheet of a dataset, or of an export as it lies on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.dataset.contact_sheet import card_of, contact_sheet, overlay, sheet_of
from diffumask_datasets.dataset.image_io import read_image, read_label
from diffumask_datasets.dataset.image_listing import IMAGE_SUFFIXES
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.storage import (
    Location,
    dataset_location,
    fetched,
    join,
    name_of,
    parse_location,
    read_file,
)
from diffumask_datasets.errors import DataError, ExportError, ReviewError
from diffumask_datasets.recipes.json_reader import parse_json
from diffumask_datasets.review.corrections.coco import read_coco
from diffumask_datasets.review.corrections.edit import Edit, Edits, Shape, check_shape, unique
from diffumask_datasets.review.corrections.labelme import read_labelme
from diffumask_datasets.review.corrections.masks import read_imagefolder, read_voc
from diffumask_datasets.sample import BACKGROUND, IGNORE, id2label

__all__ = ["show"]

MANIFEST = "diffumask-export.json"


def show(source: str | Path, output: str | Path, *, num_samples: int = 24, columns: int = 3) -> int:
    """Writes a picture of the first samples: each image, its mask over it, and its heat map where there is one.

    Args:
        source: A dataset (a folder, a URL or ``owner/name`` on the Hub), or the folder or URL of an export in COCO, VOC,
            ADE20K, LabelMe, yolo-semantic or as an image folder, which is shown as its files have it.
        output: A file or URL that ends in ``.png``.
        num_samples: The most samples that are shown.
        columns: Samples in a row of the picture.

    Returns:
        The number of samples shown.

    Raises:
        ExportError: Neither a dataset nor such an export, or ``output`` cannot be written.
        ReviewError: A file of the export cannot be read.
    """
    target = parse_location(output)
    if not name_of(target).lower().endswith(".png"):
        raise ExportError(f"{output} is no picture: give a file that ends in .png")
    for name, number in (("num_samples", num_samples), ("columns", columns)):
        if number < 1:
            raise ExportError(f"{name}: expected a number from 1 up, got {number}")
    place = dataset_location(source)
    manifest = read_file(join(place, MANIFEST), what="the manifest", error=ExportError)
    if manifest is None:
        opened = open_dataset(source)
        rows = [row for _, row in islice(opened.rows(), num_samples)]
        count, sheet = len(rows), contact_sheet(rows, opened.classes, columns=columns)
    else:
        cards = list(islice(_cards(place, manifest), num_samples))
        count, sheet = len(cards), sheet_of(cards, columns=columns)
    with atomic_file(target) as draft:
        sheet.save(draft, format="PNG")
    return count


def _cards(place: Location, manifest: bytes) -> Iterator[Image.Image]:
    name, classes = _exported(manifest, place)
    read, pattern = _EXPORTS[name]
    with fetched(place) as folder:
        pictures = [path for path in folder.glob(pattern) if path.suffix.lower() in IMAGE_SUFFIXES]
        images = unique(path for path in pictures if path.is_file())
        for sample_id, edit in read(folder, classes).samples.items():
            if sample_id not in images:
                raise ReviewError(f"{folder}: there is no image of {sample_id}; export again")
            yield _card(sample_id, images[sample_id], edit, classes)


def _exported(manifest: bytes, place: Location) -> tuple[str, tuple[str, ...]]:
    document = parse_json(manifest, where=str(join(place, MANIFEST)), error=ExportError)
    exported = document.get("export") if isinstance(document, dict) else None
    name, classes = (exported.get("format"), exported.get("classes")) if isinstance(exported, dict) else (None, None)
    if not isinstance(classes, list) or not all(isinstance(known, str) for known in classes):
        raise ExportError(f"{join(place, MANIFEST)} names no classes: export again")
    if name not in _EXPORTS:
        raise ExportError(
            f"{place} is an export of the format {name}, and {', '.join(_EXPORTS)} are shown: show the dataset that it was "
            "made of"
        )
    return str(name), tuple(classes)


def _card(sample_id: str, path: Path, edit: Callable[[Shape], Edit], classes: Sequence[str]) -> Image.Image:
    try:
        image = read_image(path)
    except DataError as error:
        raise ReviewError(str(error)) from error
    height, width, _ = image.shape
    found = edit((height, width))
    label = np.full((height, width), BACKGROUND, dtype=np.uint8) if found.label is None else found.label
    if found.label is None:
        for category, mask in found.objects or ():
            label[mask] = category
    names = id2label(classes)
    shown = ", ".join(names[value] for value in np.unique(label).tolist() if value not in (BACKGROUND, IGNORE))
    return card_of([image, overlay(image, label)], caption=f"{shown or 'no mask'} · {sample_id}")


def _read_masks(folder: Path, classes: Sequence[str], *, pattern: str) -> Edits:
    """Masks whose values are our class ids."""
    files = unique(folder.glob(pattern))
    samples = {sample_id: partial(_by_value, path=path, most=len(classes)) for sample_id, path in files.items()}
    return Edits(samples, {})


def _by_value(shape: Shape, *, path: Path, most: int) -> Edit:
    try:
        label = read_label(path)
    except DataError as error:
        raise ReviewError(str(error)) from error
    check_shape(label.shape, shape, where=str(path))
    strange = sorted({value for value in np.unique(label).tolist() if most < value < IGNORE})
    if strange:
        raise ReviewError(f"{path}: the value {strange[0]} is none of the {most} classes")
    return Edit(label=label)


_EXPORTS: Mapping[str, tuple[Callable[..., Edits], str]] = {
    "ade20k": (partial(_read_masks, pattern="*/annotations/*/*.png"), "*/images/*/*"),
    "coco": (read_coco, "*/*"),
    "imagefolder": (read_imagefolder, "*/images/*"),
    "labelme": (read_labelme, "*/*"),
    "voc": (read_voc, "VOCdevkit/*/JPEGImages/*"),
    "yolo-semantic": (partial(_read_masks, pattern="masks/*/*.png"), "images/*/*"),
}
"""Format → how its masks are read, and where its images lie."""
