"""YOLO segmentation: one text file an image, one polygon a line; lossy, as the format is.

A polygon runs through the centres of border pixels. Holes are kept by a slit of no width; separate parts are joined by a
bridge, because a line holds one polygon. That bridge, one pixel wide, is all that is lost to readers that draw polygons.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Loss, Part, Record, short_split
from diffumask_datasets.exporters.outlines import draw_polygon, mask_iou, outline, parts_of
from diffumask_datasets.exporters.pictures import image_file
from diffumask_datasets.exporters.protocol import Check, Tally

__all__ = ["YoloExporter", "YoloReader", "YoloWriter", "data_yaml", "read_line"]

WITHIN_PIXEL = 0.25
"""Added to pixel numbers: readers that cut off and readers that round both come back to the pixel."""

DIGITS = 7
LEAST_IOU = 0.99


@dataclass(frozen=True)
class YoloExporter:
    """YOLO segmentation: images/, labels/ and data.yaml; classes count from 0."""

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> YoloWriter:
        """Takes every class name."""
        return YoloWriter(contents.classes)

    def read(self, folder: Path, contents: Contents) -> YoloReader:
        """Reads by drawing the polygons."""
        return YoloReader(folder, contents)


@dataclass(frozen=True)
class YoloWriter:
    """A YOLO export in progress."""

    classes: tuple[str, ...]

    def write(self, sample: ExportSample) -> Part:
        """The image and its lines."""
        suffix, image = image_file(sample)
        text, loss = _text(sample)
        label = f"labels/{sample.short_split}/{sample.sample_id}.txt"
        files = {f"images/{sample.short_split}/{sample.sample_id}{suffix}": image, label: text.encode()}
        return Part(files, losses={label: loss} if loss else {})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """``data.yaml``: without ``path``, which readers resolve against the folder they are started in."""
        yield "data.yaml", data_yaml(list(records), dict(enumerate(self.classes)))


class YoloReader:
    """A finished YOLO export."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents

    def checks(self) -> Iterator[Check]:
        """Every image has its text file."""
        for split in map(short_split, self._contents.splits):
            images, labels = (
                {path.stem for path in (self._folder / kind / split).glob("*")} for kind in ("images", "labels")
            )
            yield Check(f"split {split}", images == labels, f"{len(images)} images, {len(labels)} text files")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Classes and polygons exactly; masks by their IoU, because bridges between parts are lost pixels."""
        suffix, image = image_file(sample)
        there = self._folder / "images" / sample.short_split / f"{sample.sample_id}{suffix}"
        tally.add("images", differing=int(there.read_bytes() != image), compared=1)
        text = (self._folder / "labels" / sample.short_split / f"{sample.sample_id}.txt").read_text(encoding="utf-8")
        lines = text.splitlines()
        tally.add("object counts", differing=int(len(lines) != len(sample.objects)), compared=1)
        for line, found, mask in zip(lines, sample.objects, sample.masks, strict=False):
            category, drawn = read_line(line, sample.height, sample.width)
            tally.add("classes", differing=int(category != found.category - 1), compared=1)
            self._compare_masks(drawn, mask, tally)

    def _compare_masks(self, drawn: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_], tally: Tally) -> None:
        height, width = mask.shape
        polygon = read_line(_line(0, outline(mask), height=height, width=width), height, width)[1]
        tally.add("polygon pixels", differing=int((drawn != polygon).sum()), compared=mask.size)
        differing = int(mask_iou(drawn, mask) < LEAST_IOU)
        several = len(parts_of(mask)) > 1
        name = "several parts" if several else "one part"
        tally.add(f"masks of {name}, as to IoU ≥ {LEAST_IOU}", differing=differing, compared=1, lossy=several)


def read_line(line: str, height: int, width: int) -> tuple[int, npt.NDArray[np.bool_]]:
    """Reads a line, drawn like OpenCV's ``fillPoly``.

    Args:
        line: The line.
        height: Height of the image.
        width: Width of the image.

    Returns:
        The class, and its mask (height, width).

    Raises:
        ExportError: The line is no polygon.
    """
    number, *numbers = line.split()
    if len(numbers) < 6 or len(numbers) % 2:
        raise ExportError(f"expected a class and at least three points, got {line[:40]!r}")
    corners = np.asarray(numbers, dtype=np.float64).reshape(-1, 2) * (width, height)
    canvas = Image.new("L", (width, height), 0)
    draw_polygon(canvas, [(int(x), int(y)) for x, y in corners], 1)
    return int(number), np.asarray(canvas) > 0


def data_yaml(splits: list[str], names: Mapping[int, str], *, masks: str | None = None) -> bytes:
    """Makes the text of ``data.yaml``, without ``path``.

    Args:
        splits: The splits.
        names: Number → class name.
        masks: The folder of PNG masks, where there is one.

    Returns:
        The text.
    """
    folders = "".join(f"{name}: images/{folder}\n" for name, folder in _split_folders(splits).items())
    beside = "" if masks is None else f"masks_dir: {masks}\n"
    # A JSON string is a YAML string.
    listed = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in names.items())
    return f"{folders}{beside}nc: {len(names)}\nnames:\n{listed}".encode()


def _split_folders(splits: list[str]) -> dict[str, str]:
    """Split → folder. Readers demand train and val: where one is missing, another split stands in for it."""
    folders = [short_split(split) for split in splits]
    stand_ins = dict.fromkeys(("train", "val"), folders[0])
    return stand_ins | {name: name for name in folders}


def _text(sample: ExportSample) -> tuple[str, Loss | None]:
    """The lines of a sample, and what its objects of several parts lose by their bridges."""
    lines, overlaps = [], []
    for found, mask in zip(sample.objects, sample.masks, strict=True):
        line = _line(found.category - 1, outline(mask), height=sample.height, width=sample.width)
        lines.append(line)
        overlap = mask_iou(read_line(line, sample.height, sample.width)[1], mask)
        if overlap < 1:
            overlaps.append(overlap)
    return "".join(lines), Loss(len(overlaps), min(overlaps)) if overlaps else None


def _line(category: int, polygon: list[tuple[int, int]], *, height: int, width: int) -> str:
    numbers = []
    for x, y in polygon:
        numbers += [(x + WITHIN_PIXEL) / width, (y + WITHIN_PIXEL) / height]
    return f"{category} {' '.join(f'{number:.{DIGITS}f}' for number in numbers)}\n"
