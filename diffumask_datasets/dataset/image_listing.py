"""Lists the images of a folder: one rule for what an image is, and a record of what was left out and why."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from diffumask_datasets.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "LeftOut", "Listing", "is_hidden", "list_images", "merged", "plain_path", "told"]

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings of image files, in small letters; files that end in capitals count too."""

LeftOut = Mapping[str, tuple[str, ...]]
"""Why files were left out → their names."""

HIDDEN = "hidden or system file"
UNKNOWN = "no image by its ending"

_SYSTEM = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"})
"""What systems put beside images, in small letters: files, or folders with all that is in them."""

_SHOWN = 3


@dataclass(frozen=True)
class Listing:
    """Image files by path, and what lies beside them."""

    paths: tuple[Path, ...]
    left_out: LeftOut


def list_images(root: Path, *, nested: bool = False, sides: Collection[str] = ()) -> Listing:
    """The images in ``root``, in the order of their paths.

    Files whose name begins with a dot, files of operating systems and files in such folders are no images, nor are files
    with other endings.

    Args:
        root: folder.
        nested: whether sub-folders are searched too.
        sides: what is read beside images and so does not count as left out: file names, or endings such as ``.txt`` of files
            that bear the name of an image.

    Returns:
        The images, and the files that are none.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        files = [path for path in sorted(root.rglob("*") if nested else root.iterdir()) if path.is_file()]
    except OSError as error:
        raise DataError(f"cannot list {root}: {error.strerror or error}") from error
    reasons = {path: _reason(path.relative_to(root)) for path in files}
    images = tuple(path for path, reason in reasons.items() if reason is None)
    stems = {path.with_suffix("") for path in images}
    others: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        used = path.name in sides or (path.suffix in sides and path.with_suffix("") in stems)
        if reason == HIDDEN or (reason and not used):
            others.setdefault(reason, []).append(path.relative_to(root).as_posix())
    return Listing(images, {reason: tuple(names) for reason, names in others.items()})


def is_hidden(path: PurePath) -> bool:
    """Whether a path, relative to the folder that is listed, is hidden or an operating system's."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in path.parts)


def merged(parts: Iterable[LeftOut]) -> LeftOut:
    """All that several listings left out."""
    gathered: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for reason, names in part.items():
            gathered[reason] = (*gathered.get(reason, ()), *names)
    return gathered


def told(left_out: LeftOut) -> str:
    """``left out: 2 hidden or system file (._a.png, .DS_Store)``; empty where nothing was left out."""
    if not left_out:
        return ""
    parts = [f"{len(names)} {reason} ({_some(names)})" for reason, names in left_out.items()]
    return f"left out: {', '.join(parts)}"


def plain_path(name: str) -> str:
    """A relative file name as lists write it, made comparable: ``./a.jpg`` and ``b\\\\..\\\\a.jpg`` are ``a.jpg``.

    Letters with accents, which file systems store in two ways, are brought to one. A name that leads out of its folder keeps
    its leading ``..``.
    """
    parts: list[str] = []
    for part in PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _reason(path: Path) -> str | None:
    if is_hidden(path):
        return HIDDEN
    return None if path.suffix.lower() in IMAGE_SUFFIXES else UNKNOWN


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
