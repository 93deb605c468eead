"""What differs between VOC trees: how their lists name images, and in which folder the masks of a list lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from diffumask_datasets.dataset.image_listing import plain_path
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.text_lists import read_lines
from diffumask_datasets.segmentation.layout_files import NamedImages

__all__ = ["MASK_FOLDERS", "voc_masks", "voc_names"]

MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")
"""VOC's own masks, and those with the masks of SBD: where each is looked for, in this order."""

_PATHS = re.compile(r"/?JPEGImages/(?P<name>.+?)\.(jpe?g|png)(\s+\S.*)?", re.IGNORECASE)
"""``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``"""


def voc_names(listing: Path) -> list[str]:
    """The names that a list of images holds: one a line, or the paths of an image and its mask, as for SBD.

    Raises:
        DataError: the list cannot be read.
    """
    return [_name(line) for line in read_lines(listing)]


def voc_masks(root: Path, names: Sequence[str]) -> NamedImages:
    """The folder that holds the masks of all ``names``; the first of :data:`MASK_FOLDERS` where none does.

    Raises:
        DataError: there is no folder of masks.
    """
    folders = [NamedImages.of(root / name) for name in MASK_FOLDERS if (root / name).is_dir()]
    if not folders:
        raise DataError(f"no {root / MASK_FOLDERS[0]}: the voc layout needs it")
    return next((masks for masks in folders if all(name in masks.paths for name in names)), folders[0])


def _name(line: str) -> str:
    paths = _PATHS.fullmatch(line)
    return plain_path(paths["name"] if paths else line)
