"""Writes images, and one JSON per annotation part and split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diffumask_datasets.exporters.classes import FormatClass
from diffumask_datasets.exporters.coco import constants as coco
from diffumask_datasets.exporters.coco.convert import (
    instance_annotations,
    panoptic_segments,
    segment_colours,
    stuff_annotations,
    stuff_map,
)
from diffumask_datasets.exporters.contents import ExportSample, Part, Record, short_split
from diffumask_datasets.exporters.pictures import image_file, jpeg_file, plain_png

__all__ = ["CocoWriter"]


@dataclass(frozen=True)
class CocoWriter:
    """A COCO export in progress; ``stuff`` holds class ids."""

    classes: tuple[FormatClass, ...]
    parts: tuple[str, ...]
    polygons: bool
    stuff: frozenset[int]
    year: int
    jpeg: bool

    def image_file(self, sample: ExportSample) -> tuple[str, bytes]:
        """Suffix and bytes of a sample's image."""
        return (".jpg", jpeg_file(sample)) if self.jpeg else image_file(sample)

    @property
    def regions(self) -> frozenset[int]:
        """The class ids of the part stuff."""
        return self.stuff or frozenset(range(1, len(self.classes) + 1))

    def write(self, sample: ExportSample) -> Part:
        """The image, the pictures of the parts that have some, and the annotations to be gathered."""
        suffix, image = self.image_file(sample)
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
