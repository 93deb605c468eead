"""Writes images, and one JSON per annotation part and split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from diffumask_datasets.exporters.coco.convert import (
    instance_annotations,
    panoptic_segments,
    segment_colours,
    stuff_annotations,
    stuff_map,
)
from diffumask_datasets.exporters.coco.reader import CocoReader
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record, short_split
from diffumask_datasets.exporters.pictures import image_file, plain_png

__all__ = ["CocoCaptionsExporter", "CocoExporter", "CocoPanopticExporter", "CocoStuffExporter", "CocoWriter"]


@dataclass(frozen=True)
class CocoExporter:
    """COCO. ``parts`` are the annotation files wanted: instances, panoptic, stuff, captions.

    ``ids``: the official category ids where all classes are COCO's, else 1..K. ``polygons`` instead of run lengths:
    pixel-exact for pycocotools, holes cut open. ``stuff`` names the classes that have regions and no instances; the part
    ``stuff`` takes all classes where none is named. ``year`` is the end of folder names, as in train2017.
    """

    parts: Sequence[str] = ("instances",)
    ids: Ids = "auto"
    polygons: bool = False
    stuff: Sequence[str] = ()
    year: int = 2017

    layout: ClassVar[int] = 1

    def open(self, contents: Contents) -> CocoWriter:
        """Raises ExportError for an unknown part, class or choice of ids."""
        check_year(self.year)
        check_choice("polygons", self.polygons, (True, False))
        parts = checked_names("parts", self.parts)
        for part in parts or [""]:
            check_choice("parts", part, coco.PARTS)
        for name in checked_names("stuff", self.stuff):
            if name not in contents.classes:
                raise ExportError(f"stuff: {name!r} is no class of the dataset{suggestion(name, contents.classes)}")
        return CocoWriter(self._classes(contents), parts, self.polygons, self._stuff_ids(contents), self.year)

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


@dataclass(frozen=True)
class CocoWriter:
    """A COCO export in progress; ``stuff`` holds class ids."""

    classes: tuple[FormatClass, ...]
    parts: tuple[str, ...]
    polygons: bool
    stuff: frozenset[int]
    year: int

    @property
    def regions(self) -> frozenset[int]:
        """The class ids of the part stuff."""
        return self.stuff or frozenset(range(1, len(self.classes) + 1))

    def write(self, sample: ExportSample) -> Part:
        """The image, the pictures of the parts that have some, and the annotations to be gathered."""
        suffix, image = image_file(sample)
        name = f"{sample.sample_id}{suffix}"
        files = {f"{self.folder(sample.split)}/{name}": image}
        annotations: dict[str, Any] = {}
        if "instances" in self.parts:
            annotations["instances"] = instance_annotations(sample, self.classes, polygons=self.polygons)
        if "captions" in self.parts:
            annotations["captions"] = [{"image_id": sample.ordinal, "caption": str(sample.row.get("prompt", ""))}]
        if "stuff" in self.parts:
            annotations["stuff"] = stuff_annotations(sample, self.classes, stuff=self.regions)
            pixel_map = plain_png(stuff_map(sample, self.classes, stuff=self.regions))
            files[self.pixel_map(sample.split, sample.sample_id)] = pixel_map
        if "panoptic" in self.parts:
            segments, infos = panoptic_segments(sample, self.classes, stuff=self.stuff)
            file_name = f"{sample.sample_id}.png"
            annotations["panoptic"] = [{"image_id": sample.ordinal, "file_name": file_name, "segments_info": infos}]
            files[self.panoptic_map(sample.split, sample.sample_id)] = plain_png(segment_colours(segments))
        image_record = {"id": sample.ordinal, "file_name": name, "height": sample.height, "width": sample.width}
        return Part(files, {"image": image_record, "annotations": annotations})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The JSON files, streamed."""
        for split, split_records in records.items():
            for part in self.parts:
                path = self.annotation_file(part, split)
                for piece in self._document(part, split_records):
                    yield path, piece.encode()

    def folder(self, split: str) -> str:
        """The images' folder of a split, e.g. train2017."""
        return f"{short_split(split)}{self.year}"

    def annotation_file(self, part: str, split: str) -> str:
        """The JSON of a part and split."""
        return f"annotations/{part}_{self.folder(split)}.json"

    def panoptic_map(self, split: str, sample_id: str) -> str:
        """The picture of a sample's panoptic segments."""
        return f"annotations/panoptic_{self.folder(split)}/{sample_id}.png"

    def pixel_map(self, split: str, sample_id: str) -> str:
        """The picture of a sample's stuff."""
        return f"annotations/stuff_{self.folder(split)}_pixelmaps/{sample_id}.png"

    def _document(self, part: str, records: Iterable[Record]) -> Iterator[str]:
        yield f'{{"info":{_json(coco.INFO)},"licenses":[],"images":['
        yield from _separated(record["image"] for record in records)
        yield '],"annotations":['
        annotations = (annotation for record in records for annotation in record["annotations"][part])
        # An annotation of the part panoptic is a whole image and has no id of its own.
        numbered = annotations if part == "panoptic" else ({"id": n, **a} for n, a in enumerate(annotations, start=1))
        yield from _separated(numbered)
        # pycocotools wants a category of every annotation as soon as it sees this key.
        yield "]}\n" if part == "captions" else f'],"categories":{_json(self._categories(part))}}}\n'

    def _categories(self, part: str) -> list[dict[str, Any]]:
        wanted = self.regions if part == "stuff" else range(1, len(self.classes) + 1)
        categories = []
        for class_id in sorted(wanted):
            known = self.classes[class_id - 1]
            category: dict[str, Any] = {"id": known.number, "name": known.name, "supercategory": known.name}
            if part == "panoptic":
                category["isthing"] = int(class_id not in self.stuff)
            categories.append(category)
        return categories


def _separated(items: Iterable[Any]) -> Iterator[str]:
    comma = ""
    for item in items:
        yield comma + _json(item)
        comma = ",\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
