"""LabelMe: a JSON file of polygons beside each image, which the program opens and saves in place.

A polygon runs through the centres of border pixels, because LabelMe draws the border too; holes are kept by a slit of no
width. The parts of one object are polygons that share a ``group_id``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record
from diffumask_datasets.exporters.outlines import draw_polygon, outline, parts_of
from diffumask_datasets.exporters.pictures import image_file
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["LabelMeExporter", "LabelMeReader", "LabelMeWriter"]

VERSION = "5.5.0"
"""Of LabelMe, whose keys are written."""

LABELS = "labels.txt"
"""What ``labelme --labels`` takes."""


@dataclass(frozen=True)
class LabelMeExporter:
    """LabelMe: a folder a split with images and their JSON files; the semantic mask beyond the objects is not kept."""

    layout: ClassVar[int] = 1

    def open(self, contents: Contents) -> LabelMeWriter:
        """Raises ExportError for a class name of several lines, which ``labels.txt`` cannot hold."""
        for name in contents.classes:
            if len(name.splitlines()) != 1 or name != name.strip():
                raise ExportError(f"class {name!r} is no line of {LABELS}; rename the class")
        return LabelMeWriter(contents.classes)

    def read(self, folder: Path, contents: Contents) -> LabelMeReader:
        """Reads by drawing the polygons as LabelMe does."""
        return LabelMeReader(folder, contents)


@dataclass(frozen=True)
class LabelMeWriter:
    """A LabelMe export in progress."""

    classes: tuple[str, ...]

    def write(self, sample: ExportSample) -> Part:
        """The image and its polygons."""
        suffix, image = image_file(sample)
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": self._shapes(sample),
            "imagePath": f"{sample.sample_id}{suffix}",
            "imageData": None,
            "imageHeight": sample.height,
            "imageWidth": sample.width,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        name = f"{sample.split}/{sample.sample_id}"
        return Part({f"{name}{suffix}": image, f"{name}.json": text.encode()})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The names of the classes."""
        yield LABELS, "".join(f"{name}\n" for name in self.classes).encode()

    def _shapes(self, sample: ExportSample) -> list[dict[str, Any]]:
        shapes = []
        for found, mask in zip(sample.objects, sample.masks, strict=True):
            parts = parts_of(mask)
            # An object of one part has no group: its copy in the program is then an object of its own.
            group = found.instance_id if len(parts) > 1 else None
            shapes += [_shape(self.classes[found.category - 1], part, group) for part in parts]
        return shapes


class LabelMeReader:
    """A finished LabelMe export."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents

    def checks(self) -> Iterator[Check]:
        """Every image has its JSON file, and the classes are listed."""
        for split in self._contents.splits:
            paths = list((self._folder / split).iterdir())
            files = {path.stem for path in paths if path.suffix == ".json"}
            images = {path.stem for path in paths if path.suffix != ".json"}
            yield Check(f"split {split}", files == images, f"{len(images)} images, {len(files)} JSON files")
        listed = (self._folder / LABELS).read_text(encoding="utf-8").splitlines()
        yield Check(LABELS, tuple(listed) == self._contents.classes, f"{len(listed)} classes")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Image bytes, classes, and the pixels of each object."""
        suffix, image = image_file(sample)
        place = self._folder / sample.split / sample.sample_id
        tally.add("images", differing=int(place.with_name(place.name + suffix).read_bytes() != image), compared=1)
        document = read_json(place.with_name(f"{place.name}.json"), what="the polygons", error=ExportError)
        shapes = iter(document["shapes"])
        wanted = 0
        for found, mask in zip(sample.objects, sample.masks, strict=True):
            parts = len(parts_of(mask))
            drawn = list(islice(shapes, parts))
            wanted += parts
            names = {shape["label"] for shape in drawn}
            tally.add("classes", differing=int(names != {self._contents.classes[found.category - 1]}), compared=1)
            tally.add(
                "object pixels", differing=int((_rasterized(drawn, mask.shape) != mask).sum()), compared=mask.size
            )
        tally.add("polygon counts", differing=int(len(document["shapes"]) != wanted), compared=1)


def _shape(name: str, part: npt.NDArray[np.bool_], group: int | None) -> dict[str, Any]:
    return {
        "label": name,
        "points": [[float(x), float(y)] for x, y in outline(part)],
        "group_id": group,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }


def _rasterized(shapes: Iterable[Mapping[str, Any]], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    canvas = Image.new("L", (shape[1], shape[0]), 0)
    for drawn in shapes:
        draw_polygon(canvas, [(x, y) for x, y in drawn["points"]], 1)
    return np.asarray(canvas) > 0
