"""Pascal VOC as a format with its options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.classes import FormatClass, Ids, check_year, format_classes
from diffumask_datasets.exporters.contents import Contents
from diffumask_datasets.exporters.voc import constants as voc
from diffumask_datasets.exporters.voc.reader import VocReader
from diffumask_datasets.exporters.voc.writer import VocWriter
from diffumask_datasets.sample import BACKGROUND_NAME

__all__ = ["VocExporter"]

_UNSAFE = re.compile(r'[/\\:*?"<>|]|^\.')
MAX_RING = 16


@dataclass(frozen=True)
class VocExporter:
    """Pascal VOC. ``ids``: the official 1..20 where all classes are VOC's, else ours; ``ring`` pixels of void on each
    side of every border (0 keeps the masks as they are); ``year`` names the tree.

    Images become JPEG of quality 95 without colour subsampling, because VOC's readers look for ``.jpg``; the masks are
    lossless.
    """

    ids: Ids = "auto"
    ring: int = 0
    year: int = 2012

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> VocWriter:
        """Raises ExportError for more than 254 classes, or a class that cannot be part of a file name."""
        if type(self.ring) is not int or not 0 <= self.ring <= MAX_RING:
            raise ExportError(f"ring: expected a number of pixels from 0 to {MAX_RING}, got {self.ring!r}")
        check_year(self.year)
        if len(contents.classes) > voc.MAX_CLASSES:
            raise ExportError(
                f"{len(contents.classes)} classes; a VOC mask holds at most {voc.MAX_CLASSES} beside background and void"
            )
        for name in contents.classes:
            if _UNSAFE.search(name):
                raise ExportError(
                    f"class {name!r} would be the file ImageSets/Main/{name}_train.txt, which cannot be; rename the class"
                )
            _check_label_map_name(name)
        return VocWriter(self._classes(contents), f"VOC{self.year}", self.ring)

    def read(self, folder: Path, contents: Contents) -> VocReader:
        """Reads by Pillow's palette and an XML parser."""
        return VocReader(folder, contents, self._classes(contents), f"VOC{self.year}", self.ring)

    def _classes(self, contents: Contents) -> tuple[FormatClass, ...]:
        return format_classes(contents.classes, table=voc.CLASSES, ids=self.ids, owner="VOC")


def _check_label_map_name(name: str) -> None:
    if name.startswith("#") or name != name.strip():
        raise ExportError(
            f"class {name!r}: readers of labelmap.txt take '#' for a comment and drop blanks at the ends; rename the class"
        )
    if name in (voc.VOID_NAME, BACKGROUND_NAME):
        raise ExportError(f"class {name!r}: labelmap.txt calls pixels of no class so; rename the class")
