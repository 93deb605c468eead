"""Ultralytics' semantic segmentation: images/, masks/ (8-bit PNG) and a data.yaml that names the folder of the masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from diffumask_datasets.dataset.image_io import read_label
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record, short_split
from diffumask_datasets.exporters.pictures import image_file, plain_png
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.exporters.yolo import data_yaml
from diffumask_datasets.recipes.yaml_reader import read_yaml
from diffumask_datasets.sample import MAX_CLASS_ID, id2label

__all__ = ["YoloSemanticExporter", "YoloSemanticReader", "YoloSemanticWriter"]

IMAGES, MASKS, DATA = "images", "masks", "data.yaml"


@dataclass(frozen=True)
class YoloSemanticExporter:
    """Ultralytics' semantic task: masks keep our values, class 0 is the background and 255 is ignored."""

    layout: ClassVar[int] = 1

    def open(self, contents: Contents) -> YoloSemanticWriter:
        """Raises ExportError for more than 254 classes."""
        if len(contents.classes) > MAX_CLASS_ID:
            raise ExportError(f"{len(contents.classes)} classes; an 8-bit mask holds at most {MAX_CLASS_ID}")
        return YoloSemanticWriter(contents.classes)

    def read(self, folder: Path, contents: Contents) -> YoloSemanticReader:
        """Reads the masks as Ultralytics pairs them with images: by the name of the file."""
        return YoloSemanticReader(folder, contents)


@dataclass(frozen=True)
class YoloSemanticWriter:
    """An export in progress."""

    classes: tuple[str, ...]

    def write(self, sample: ExportSample) -> Part:
        """The image, and its mask under the same name."""
        suffix, image = image_file(sample)
        name = f"{sample.short_split}/{sample.sample_id}"
        return Part({f"{IMAGES}/{name}{suffix}": image, f"{MASKS}/{name}.png": plain_png(sample.label)})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """``data.yaml``."""
        yield DATA, data_yaml(list(records), id2label(self.classes), masks=MASKS)


class YoloSemanticReader:
    """A finished export."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents

    def checks(self) -> Iterator[Check]:
        """Every image has its mask, and ``data.yaml`` names the classes and the folder of the masks."""
        for split in map(short_split, self._contents.splits):
            images, masks = (
                {path.stem for path in (self._folder / kind / split).glob("*")} for kind in (IMAGES, MASKS)
            )
            yield Check(f"split {split}", images == masks, f"{len(images)} images, {len(masks)} masks")
        data = read_yaml(self._folder / DATA, what="the classes", error=ExportError)
        right = (data["names"], data["masks_dir"]) == (id2label(self._contents.classes), MASKS)
        yield Check(DATA, right, f"{len(data['names'])} classes, background included")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Image bytes and mask pixels."""
        suffix, image = image_file(sample)
        name = f"{sample.short_split}/{sample.sample_id}"
        tally.add(
            "images", differing=int((self._folder / IMAGES / f"{name}{suffix}").read_bytes() != image), compared=1
        )
        found = read_label(self._folder / MASKS / f"{name}.png")
        differing = sample.label.size if found.shape != sample.label.shape else int((found != sample.label).sum())
        tally.add("mask pixels", differing=differing, compared=sample.label.size)
