"""COCO as a format with its options, and the names under which some of its parts are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from diffumask_datasets.errors import ExportError, suggestion
from diffumask_datasets.exporters.classes import (
    FormatClass,
    Ids,
    check_choice,
    check_year,
    checked_names,
    format_classes,
)
from diffumask_datasets.exporters.coco import constants as coco
from diffumask_datasets.exporters.coco.reader import CocoReader
from diffumask_datasets.exporters.coco.writer import CocoWriter
from diffumask_datasets.exporters.contents import Contents

__all__ = ["CocoCaptionsExporter", "CocoExporter", "CocoPanopticExporter", "CocoStuffExporter"]


@dataclass(frozen=True)
class CocoExporter:
    """COCO. ``parts`` are the annotation files wanted: instances, panoptic, stuff, captions.

    ``ids``: the official category ids where all classes are COCO's, else 1..K. ``polygons`` instead of run lengths:
    pixel-exact for pycocotools, holes cut open. ``stuff`` names the classes that have regions and no instances; the part
    ``stuff`` takes all classes where none is named. ``year`` is the end of folder names, as in train2017.
    ``images=jpeg`` turns all images into JPEG, which detectron2's panoptic loader demands; ``source`` copies them.
    """

    parts: Sequence[str] = ("instances",)
    ids: Ids = "auto"
    polygons: bool = False
    stuff: Sequence[str] = ()
    year: int = 2017
    images: str = "source"

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> CocoWriter:
        """Raises ExportError for an unknown part, class or choice of ids."""
        check_year(self.year)
        check_choice("polygons", self.polygons, (True, False))
        check_choice("images", self.images, ("source", "jpeg"))
        parts = checked_names("parts", self.parts)
        for part in parts or [""]:
            check_choice("parts", part, coco.PARTS)
        for name in checked_names("stuff", self.stuff):
            if name not in contents.classes:
                raise ExportError(f"stuff: {name!r} is no class of the dataset{suggestion(name, contents.classes)}")
        jpeg = self.images == "jpeg"
        return CocoWriter(self._classes(contents), parts, self.polygons, self._stuff_ids(contents), self.year, jpeg)

    def read(self, folder: Path, contents: Contents) -> CocoReader:
        """Reads by pycocotools."""
        return CocoReader(folder, contents, self.open(contents))

    def _classes(self, contents: Contents) -> tuple[FormatClass, ...]:
        return format_classes(contents.classes, table=coco.CATEGORIES, ids=self.ids, owner="COCO")

    def _stuff_ids(self, contents: Contents) -> frozenset[int]:
        named = checked_names("stuff", self.stuff)
        return frozenset(number for number, name in enumerate(contents.classes, start=1) if name in named)


@dataclass(frozen=True)
class CocoPanopticExporter(CocoExporter):
    """COCO with the part panoptic: PNG of segment ids, and JSON."""

    parts: Sequence[str] = ("panoptic",)


@dataclass(frozen=True)
class CocoStuffExporter(CocoExporter):
    """COCO with the part stuff: one region per class and image, and pixel maps."""

    parts: Sequence[str] = ("stuff",)


@dataclass(frozen=True)
class CocoCaptionsExporter(CocoExporter):
    """COCO with the part captions: the prompts."""

    parts: Sequence[str] = ("captions",)
