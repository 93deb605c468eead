"""Which image belongs to which mask: by name, whatever their endings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.dataset.image_listing import IMAGE_SUFFIXES, LeftOut, list_images, merged
from diffumask_datasets.errors import DataError

__all__ = ["NamedImages", "Pairs", "pair_by_name", "pair_listed"]

WITHOUT_MASK = "image without a mask"

_MASK_TAIL = re.compile(
    r"[ ._-](masks?|labels?|label_?ids?|seg|segmentation|annotations?|gt|ground_?truth|l)$", re.IGNORECASE
)
"""What tools put behind the name of an image to name its mask."""


@dataclass(frozen=True)
class NamedImages:
    """The images of a folder and its sub-folders by their path without ending, relative to the folder."""

    folder: Path
    paths: Mapping[str, Sequence[Path]]
    left_out: LeftOut

    @classmethod
    def of(cls, folder: Path) -> NamedImages:
        """All images in ``folder``.

        Raises:
            DataError: the folder cannot be read.
        """
        listing = list_images(folder, nested=True)
        paths: dict[str, list[Path]] = {}
        for path in listing.paths:
            paths.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
        return cls(folder, paths, listing.left_out)

    def path(self, name: str, *, suffix: str, where: Path) -> Path:
        """The file of that name; ``suffix`` is the ending it usually has, ``where`` what asks for it.

        Raises:
            DataError: there is none, or several with different endings.
        """
        found = self.paths.get(name, ())
        if not found:
            raise DataError(f"no {self.folder / name}{suffix}, which {where} asks for")
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1].name} are both {name!r}, which {where} asks for; keep one")
        return found[0]

    def without(self, names: Iterable[str]) -> LeftOut:
        """What was left out, and the images whose name is not among ``names``, which have no mask."""
        known = set(names)
        unpaired = tuple(path.name for name, paths in self.paths.items() if name not in known for path in paths)
        return merged([self.left_out, {WITHOUT_MASK: unpaired} if unpaired else {}])


@dataclass(frozen=True)
class Pairs:
    """Names, images and masks of the same length, and the files that were left out."""

    names: Sequence[str]
    images: Sequence[Path]
    masks: Sequence[Path]
    left_out: LeftOut


def pair_by_name(images: NamedImages, masks: NamedImages, *, suffix: str) -> Pairs:
    """Pairs masks with the images of their names: ``a.jpg`` with ``a.png``, ``a_mask.png`` or ``a.jpg.png``.

    Args:
        images: The images by name.
        masks: The masks by name.
        suffix: The ending that an image usually has, for messages.

    Returns:
        The masks, in order, each with its image.

    Raises:
        DataError: A mask without an image, or two masks of one image.
    """
    found: dict[str, Path] = {}
    for stem in masks.paths:
        name = _image_name(stem, images)
        path = masks.path(stem, suffix=".png", where=images.folder)
        if name in found:
            raise DataError(f"{found[name]} and {path} are both masks of {name!r}; keep one")
        found[name] = path
    pictures = [images.path(name, suffix=suffix, where=masks.folder) for name in found]
    return Pairs(list(found), pictures, list(found.values()), merged([images.without(found), masks.left_out]))


def pair_listed(names: Sequence[str], images: NamedImages, masks: NamedImages, *, suffix: str, where: Path) -> Pairs:
    """Pairs the images and masks of a list.

    Args:
        names: The names of the list.
        images: The images by name.
        masks: The masks by name.
        suffix: The ending that an image usually has, for messages.
        where: The file of the list, for messages.

    Returns:
        The pairs, in the order of the list.

    Raises:
        DataError: A file that is not there, or two of one name.
    """
    return Pairs(
        names,
        [images.path(name, suffix=suffix, where=where) for name in names],
        [masks.path(name, suffix=".png", where=where) for name in names],
        merged([images.left_out, masks.left_out]),
    )


def _image_name(stem: str, images: NamedImages) -> str:
    whole = Path(stem)  # of a.jpg.png it is a.jpg
    without_ending = whole.with_suffix("").as_posix() if whole.suffix.lower() in IMAGE_SUFFIXES else stem
    for name in (stem, without_ending, _MASK_TAIL.sub("", stem)):
        if name in images.paths:
            return name
    return stem
