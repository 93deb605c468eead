"""A folder of images and what is said of them: the layout that ``datasets`` calls an image folder."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from diffumask_datasets.errors import DataError
from diffumask_datasets.texts import normalise

__all__ = ["FoundImage", "find_images", "read_pixels"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
CAPTION_COLUMNS = ("text", "caption", "prompt")


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file, the SHA-256 of its bytes, its caption (None: nothing is said) and the name of its sub-folder."""

    path: Path
    content: str
    caption: str | None
    folder: str


def find_images(root: Path) -> list[FoundImage]:
    """The images below ``root``, by path.

    A caption stands in ``metadata.jsonl`` or ``metadata.csv`` of ``root`` (``file_name`` and ``text``, ``caption`` or
    ``prompt``), or in a file of the image's name with the ending ``.txt``.

    Raises:
        DataError: no folder, no image in it, or metadata that cannot be read or names a file that is not there.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; give a folder of images")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{root} holds no images; expected files that end in {', '.join(SUFFIXES)}")
    captions = _captions(root)
    missing = sorted(name for name in captions if not (root / name).is_file())
    if missing:
        raise DataError(f"the metadata of {root} names {missing[0]!r}, which is not there")
    return [
        FoundImage(
            path,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            captions.get(path.relative_to(root).as_posix(), _beside(path)),
            path.parent.name if path.parent != root else "",
        )
        for path in paths
    ]


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The image as RGB, uint8 (height, width, 3), turned as its camera says.

    Raises:
        DataError: no image, or a broken one.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the image {path}: {error}; mend it or take it out of the folder") from error


def _beside(path: Path) -> str | None:
    text = path.with_suffix(".txt")
    return normalise(text.read_text(encoding="utf-8")) if text.is_file() else None


def _captions(root: Path) -> dict[str, str]:
    """File name → caption, of the metadata file if there is one."""
    for name in ("metadata.jsonl", "metadata.csv"):
        path = root / name
        if path.is_file():
            return dict(_pair(row, path) for row in _rows(path))
    return {}


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            if path.suffix == ".csv":
                yield from csv.DictReader(lines)
            else:
                yield from (json.loads(line) for line in lines if line.strip())
    except (ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _pair(row: Mapping[str, str], path: Path) -> tuple[str, str]:
    column = next((name for name in CAPTION_COLUMNS if isinstance(row, dict) and isinstance(row.get(name), str)), None)
    if column is None or not isinstance(row.get("file_name"), str):
        raise DataError(f"{path}: expected file_name and one of {', '.join(CAPTION_COLUMNS)} in each row, got {row!r}")
    return row["file_name"], normalise(row[column])
