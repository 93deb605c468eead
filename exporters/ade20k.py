"""ADE20K (SceneParsing): images, and 8-bit masks in which 0 is everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record
from diffumask_datasets.exporters.pictures import jpeg_file, plain_png
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["Ade20kExporter", "Ade20kReader", "Ade20kWriter"]

ROOT = "ADEChallengeData2016"
IMAGES = f"{ROOT}/images"
MASKS = f"{ROOT}/annotations"
OBJECT_INFO = f"{ROOT}/objectInfo150.txt"
"""Readers of the layout look for this name, whatever the number of classes."""

SPLITS = {"train": "training", "validation": "validation", "test": "testing"}


@dataclass(frozen=True)
class Ade20kExporter:
    """ADE20K: masks keep our class ids (0 other, 1..K, 255 unsure), images become JPEG as its readers expect."""

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> Ade20kWriter:
        """Raises ExportError for more than 254 classes."""
        if len(contents.classes) > MAX_CLASS_ID:
            raise ExportError(f"{len(contents.classes)} classes; an 8-bit mask holds at most {MAX_CLASS_ID}")
        return Ade20kWriter(contents.classes)

    def read(self, folder: Path, contents: Contents) -> Ade20kReader:
        """Reads by Pillow."""
        return Ade20kReader(folder, contents)


@dataclass(frozen=True)
class Ade20kWriter:
    """An ADE20K export in progress."""

    classes: tuple[str, ...]

    def write(self, sample: ExportSample) -> Part:
        """The image and its mask; remembered are the pixels of each class."""
        split = SPLITS.get(sample.split, sample.split)
        files = {
            f"{IMAGES}/{split}/{sample.sample_id}.jpg": jpeg_file(sample),
            f"{MASKS}/{split}/{sample.sample_id}.png": plain_png(sample.label),
        }
        values, counts = np.unique(sample.label, return_counts=True)
        return Part(files, {str(value): int(count) for value, count in zip(values, counts, strict=True)})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """``objectInfo150.txt``: of each class its share of pixels, and in how many images of a split it is."""
        size = len(self.classes) + 1
        pixels = np.zeros(size, dtype=np.int64)
        images = {split: np.zeros(size, dtype=np.int64) for split in ("train", "validation")}
        everything = 0
        for split, split_records in records.items():
            for record in split_records:
                everything += sum(record.values())
                for value, count in record.items():
                    if int(value) < size:
                        pixels[int(value)] += count
                        images.get(split, np.zeros(size))[int(value)] += 1
        yield OBJECT_INFO, b"Idx\tRatio\tTrain\tVal\tStuff\tName\n"
        for class_id, name in enumerate(self.classes, start=1):
            ratio = pixels[class_id] / max(everything, 1)
            shown = "\t".join(str(found[class_id]) for found in images.values())
            yield OBJECT_INFO, f"{class_id}\t{ratio:.4f}\t{shown}\t0\t{name}\n".encode()


class Ade20kReader:
    """A finished ADE20K export."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents

    def checks(self) -> Iterator[Check]:
        """Every image has its mask, and the classes are listed in order."""
        for split in self._contents.splits:
            name = SPLITS.get(split, split)
            images, masks = ({path.stem for path in (self._folder / kind / name).glob("*")} for kind in (IMAGES, MASKS))
            yield Check(f"split {name}", images == masks, f"{len(images)} images, {len(masks)} masks")
        lines = (self._folder / OBJECT_INFO).read_text(encoding="utf-8").splitlines()[1:]
        listed = tuple(line.split("\t")[-1] for line in lines)
        yield Check("classes", listed == self._contents.classes, f"{len(listed)} listed")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Pixels of the mask; the image by the bytes that its JPEG must have."""
        split = SPLITS.get(sample.split, sample.split)
        found = np.asarray(open_image(self._folder / MASKS / split / f"{sample.sample_id}.png"))
        differing = sample.label.size if found.shape != sample.label.shape else int((found != sample.label).sum())
        tally.add("mask pixels", differing=differing, compared=sample.label.size)
        image = (self._folder / IMAGES / split / f"{sample.sample_id}.jpg").read_bytes()
        tally.add("images", differing=int(image != jpeg_file(sample)), compared=1)
