"""A folder of images and what is said of them: the layout that ``datasets`` calls an image folder."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.dataset.image_io import shorter_side
from diffumask_datasets.dataset.image_listing import IMAGE_SUFFIXES, LeftOut, is_hidden, list_images, merged, plain_path
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.json_reader import parse_json_lines
from diffumask_datasets.recipes.text import normalise
from diffumask_datasets.recipes.text_lists import read_text

__all__ = ["FoundImage", "ImageFolder", "find_images"]

CAPTION_COLUMNS = ("text", "caption", "prompt")
METADATA = ("metadata.jsonl", "metadata.csv")
CAPTION_SUFFIX = ".txt"

SMALLEST_SIDE = 8
"""Pixels of the shorter side of an image that attention can tell the parts of: a cell of a latent."""
TINY = f"smaller than {SMALLEST_SIDE} pixels"


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file, the SHA-256 of its bytes, its caption (None: nothing is said), the name of its sub-folder, and the
    pixels of its shorter side."""

    path: Path
    content: str
    caption: str | None
    folder: str
    side: int


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of a folder, by path, and the files that were left out: no images, or too small to show anything."""

    images: tuple[FoundImage, ...]
    left_out: LeftOut


def find_images(root: Path) -> ImageFolder:
    """The images below ``root`` with their captions.

    A caption stands in ``metadata.jsonl`` or ``metadata.csv`` of ``root`` or a sub-folder (``file_name``, relative to the
    metadata, and ``text``, ``caption`` or ``prompt``), or in a file of the image's name with the ending ``.txt``.

    Raises:
        DataError: no folder, no image in it, a file that cannot be read, or metadata that names a file that is no image
            of the folder, or one twice.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; give a folder of images")
    listing = list_images(root, nested=True, sides=(*METADATA, CAPTION_SUFFIX))
    if not listing.paths:
        raise DataError(f"{root} holds no images; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
    captions = _captions(root, listing.paths)
    images = [_found(path, root, captions) for path in listing.paths]
    tiny = tuple(found.path.name for found in images if found.side < SMALLEST_SIDE)
    usable = tuple(found for found in images if found.side >= SMALLEST_SIDE)
    return ImageFolder(usable, merged([{TINY: tiny} if tiny else {}, listing.left_out]))


def _found(path: Path, root: Path, captions: Mapping[Path, str]) -> FoundImage:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    side = shorter_side(data, name=str(path))
    caption = captions[path] if path in captions else _beside(path)
    folder = path.parent.name if path.parent != root else ""
    return FoundImage(path, hashlib.sha256(data).hexdigest(), caption, folder, side)


def _beside(path: Path) -> str | None:
    text = path.with_suffix(CAPTION_SUFFIX)
    return normalise(read_text(text)) if text.is_file() else None


def _captions(root: Path, images: tuple[Path, ...]) -> dict[Path, str]:
    """Image → caption, of all metadata files."""
    by_name = {plain_path(path.relative_to(root).as_posix()): path for path in images}
    captions: dict[Path, str] = {}
    for path in _metadata_files(root):
        for name, caption in (_pair(row, path) for row in _rows(path)):
            image = by_name.get(plain_path(f"{path.parent.relative_to(root).as_posix()}/{name}"))
            if image is None:
                raise DataError(f"the metadata {path} names {name!r}, which is not there or is no image")
            if captions.setdefault(image, caption) != caption:
                raise DataError(f"the metadata {path} gives {name!r} a second caption; keep one")
    return captions


def _metadata_files(root: Path) -> list[Path]:
    found = sorted(path for name in METADATA for path in root.rglob(name) if not is_hidden(path.relative_to(root)))
    for first, second in itertools.pairwise(found):
        if first.parent == second.parent:
            raise DataError(f"{first.parent} holds both {' and '.join(METADATA)}; keep one")
    return found


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    text = read_text(path)
    try:
        if path.suffix == ".csv":
            yield from csv.DictReader(io.StringIO(text, newline=""))
            return
        yield from (row for _, row in parse_json_lines(text, where=str(path), error=DataError))
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _pair(row: Mapping[str, str], path: Path) -> tuple[str, str]:
    column = next((name for name in CAPTION_COLUMNS if isinstance(row, dict) and isinstance(row.get(name), str)), None)
    if column is None or not isinstance(row.get("file_name"), str):
        raise DataError(f"{path}: expected file_name and one of {', '.join(CAPTION_COLUMNS)} in each row, got {row!r}")
    return row["file_name"], normalise(row[column])
