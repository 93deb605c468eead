"""An image folder with metadata.jsonl: plain files that ``load_dataset("imagefolder", data_dir=…)`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record
from diffumask_datasets.exporters.description import described, json_text
from diffumask_datasets.exporters.pictures import image_file, plain_png
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.recipes.json_reader import read_json, read_json_lines
from diffumask_datasets.sample import id2label

__all__ = ["ImageFolderExporter", "ImageFolderReader", "ImageFolderWriter"]

METADATA = "metadata.jsonl"
LABELS = "id2label.json"


@dataclass(frozen=True)
class ImageFolderExporter:
    """A folder per split with images/, labels/ (8-bit PNG) and metadata.jsonl; the columns image, label and all others."""

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> ImageFolderWriter:
        """Takes every class name."""
        return ImageFolderWriter(contents.classes)

    def read(self, folder: Path, contents: Contents) -> ImageFolderReader:
        """Reads the files that the metadata names."""
        return ImageFolderReader(folder, contents)


@dataclass(frozen=True)
class ImageFolderWriter:
    """An export in progress."""

    classes: tuple[str, ...]

    def write(self, sample: ExportSample) -> Part:
        """The image and its mask."""
        suffix, image = image_file(sample)
        names = {
            "file_name": f"images/{sample.sample_id}{suffix}",
            "label_file_name": f"labels/{sample.sample_id}.png",
        }
        pictures = (image, plain_png(sample.label))
        files = {f"{sample.split}/{name}": data for name, data in zip(names.values(), pictures, strict=True)}
        return Part(files, {**names, **described(sample)})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The metadata of each split, and the names of class ids."""
        for split, split_records in records.items():
            yield f"{split}/{METADATA}", b""
            for record in split_records:
                yield f"{split}/{METADATA}", f"{json_text(record)}\n".encode()
        yield LABELS, (json.dumps(id2label(self.classes), indent=2, ensure_ascii=False) + "\n").encode()


class ImageFolderReader:
    """A finished image folder."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents
        self._records: dict[str, dict[str, Any]] = {}

    def checks(self) -> Iterator[Check]:
        """The metadata names exactly the images that are there, and the class names are right."""
        for split in self._contents.splits:
            there = {path.stem for path in (self._folder / split / "images").glob("*")}
            named = self._metadata(split).keys()
            yield Check(f"{split}/{METADATA}", there == named, f"{len(named)} named, {len(there)} images")
        labels = read_json(self._folder / LABELS, what="the class names", error=ExportError)
        wanted = {str(number): name for number, name in id2label(self._contents.classes).items()}
        yield Check(LABELS, labels == wanted, f"{len(labels)} names")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Image bytes, mask pixels, and every other column."""
        record = self._metadata(sample.split)[sample.sample_id]
        image = (self._folder / sample.split / record["file_name"]).read_bytes()
        tally.add("images", differing=int(image != image_file(sample)[1]), compared=1)
        found = np.asarray(open_image(self._folder / sample.split / record["label_file_name"]))
        tally.add("mask pixels", differing=int((found != sample.label).sum()), compared=sample.label.size)
        wanted = json.loads(json_text(described(sample)))
        tally.add("columns", differing=sum(record.get(name) != wanted[name] for name in wanted), compared=len(wanted))

    def _metadata(self, split: str) -> dict[str, Any]:
        if split not in self._records:
            lines = read_json_lines(self._folder / split / METADATA, what="the metadata", error=ExportError)
            self._records[split] = {record["sample_id"]: record for _, record in lines}
        return self._records[split]
