"""Writes leftImg8bit and gtFine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from diffumask_datasets.exporters.cityscapes import constants as cityscapes
from diffumask_datasets.exporters.cityscapes.convert import layers_of, polygon_loss, polygons_of
from diffumask_datasets.exporters.cityscapes.labels import LabelTable
from diffumask_datasets.exporters.contents import ExportSample, Part, Record, short_split
from diffumask_datasets.exporters.pictures import plain_png, png_file, wide_png

__all__ = ["CityscapesWriter"]

SEQUENCE = 1_000_000
"""Frames in a sequence: the two numbers of a file name have six digits each."""


@dataclass(frozen=True)
class CityscapesWriter:
    """A Cityscapes export in progress."""

    table: LabelTable
    city: str
    labels: str

    def write(self, sample: ExportSample) -> Part:
        """Image, four pictures of ids and colours, and the polygons."""
        layers = layers_of(sample, self.table)
        numbers = self.table.numbers("number")[layers.values]
        annotation = polygons_of(layers, self.table)
        loss = polygon_loss(layers, annotation, self.table)
        polygons = json.dumps(annotation, separators=(",", ":"), ensure_ascii=False) + "\n"
        files = {
            self.path(sample, "labelIds.png"): plain_png(numbers),
            self.path(sample, "labelTrainIds.png"): plain_png(self.table.numbers("train_id")[layers.values]),
            self.path(sample, "instanceIds.png"): wide_png(layers.instances),
            self.path(sample, "color.png"): plain_png(self.table.colours()[layers.values]),
            self.path(sample, "polygons.json"): polygons.encode(),
            self.image_path(sample): png_file(sample),
        }
        record = {"id": sample.sample_id, "frame": self._frame(sample)}
        return Part(files, record, losses={self.path(sample, "polygons.json"): loss} if loss else {})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """Which sample is which frame, and the label table where it is the dataset's own.

        Both lie in the root: readers take every entry of ``gtFine`` for a split.
        """
        for split, split_records in records.items():
            path = f"{short_split(split)}_samples.tsv"
            yield path, b""
            for record in split_records:
                yield path, f"{record['frame']}\t{record['id']}\n".encode()
        if self.labels == "own":
            rows = [self.table.background, *self.table.classes, self.table.ignore]
            table = json.dumps([row._asdict() for row in rows], indent=1, ensure_ascii=False) + "\n"
            yield cityscapes.LABEL_FILE, table.encode()

    def path(self, sample: ExportSample, kind: str) -> str:
        """The annotation file of a sample, e.g. of the kind ``labelIds.png``."""
        folder = f"{cityscapes.ANNOTATIONS}/{sample.short_split}/{self.city}"
        return f"{folder}/{self._frame(sample)}_{cityscapes.ANNOTATIONS}_{kind}"

    def image_path(self, sample: ExportSample) -> str:
        """The image of a sample."""
        folder = f"{cityscapes.IMAGES}/{sample.short_split}/{self.city}"
        return f"{folder}/{self._frame(sample)}_{cityscapes.IMAGES}.png"

    def _frame(self, sample: ExportSample) -> str:
        sequence, frame = divmod(sample.ordinal, SEQUENCE)
        return f"{self.city}_{sequence:06d}_{frame:06d}"
