"""Writes the VOCdevkit tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from diffumask_datasets.exporters.classes import FormatClass
from diffumask_datasets.exporters.contents import ExportSample, Part, Record, short_split
from diffumask_datasets.exporters.pictures import jpeg_file, palette_png
from diffumask_datasets.exporters.voc import constants as voc
from diffumask_datasets.exporters.voc.convert import annotation_xml, label_map, segmentation_masks

__all__ = ["VocWriter"]


@dataclass(frozen=True)
class VocWriter:
    """A VOC export in progress; ``tree`` is e.g. VOC2012."""

    classes: tuple[FormatClass, ...]
    tree: str
    ring: int

    def write(self, sample: ExportSample) -> Part:
        """Image, two masks and the XML."""
        semantic, objects = segmentation_masks(sample, self.classes, ring=self.ring)
        files = {
            f"{voc.IMAGES}/{sample.sample_id}.jpg": jpeg_file(sample),
            f"{voc.CLASS_MASKS}/{sample.sample_id}.png": palette_png(semantic, voc.PALETTE),
            f"{voc.OBJECT_MASKS}/{sample.sample_id}.png": palette_png(objects, voc.PALETTE),
            f"{voc.ANNOTATIONS}/{sample.sample_id}.xml": annotation_xml(sample, self.classes, folder=self.tree),
        }
        return Part(
            {self._path(name): data for name, data in files.items()},
            {"id": sample.sample_id, "classes": sample.visible},
        )

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The image sets, and the label map."""
        for split, split_records in records.items():
            names = _set_names(split)
            yield from self._empty_sets(names)
            for record in split_records:
                yield from self._set_lines(record, names)
        yield self._path(voc.LABEL_MAP), label_map(self.classes)

    def _empty_sets(self, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        # A split may have no sample; its lists are there all the same.
        for name in names:
            yield self._path(f"{voc.SEGMENTATION_SETS}/{name}.txt"), b""
            yield self._path(f"{voc.MAIN_SETS}/{name}.txt"), b""
            for known in self.classes:
                yield self._path(f"{voc.MAIN_SETS}/{known.name}_{name}.txt"), b""

    def _set_lines(self, record: Record, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        line = f"{record['id']}\n".encode()
        for name in names:
            yield self._path(f"{voc.SEGMENTATION_SETS}/{name}.txt"), line
            yield self._path(f"{voc.MAIN_SETS}/{name}.txt"), line
            for class_id, known in enumerate(self.classes, start=1):
                sign = 1 if class_id in record["classes"] else -1
                yield self._path(f"{voc.MAIN_SETS}/{known.name}_{name}.txt"), f"{record['id']} {sign:2d}\n".encode()

    def _path(self, name: str) -> str:
        return f"VOCdevkit/{self.tree}/{name}"


def _set_names(split: str) -> tuple[str, ...]:
    name = short_split(split)
    return (name, "trainval") if name in voc.TRAINVAL else (name,)
