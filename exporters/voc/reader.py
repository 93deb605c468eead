"""Reads a VOCdevkit tree the way its users do: palette PNG by Pillow, annotations by an XML parser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.exporters.classes import FormatClass
from diffumask_datasets.exporters.contents import Contents, ExportSample, short_split
from diffumask_datasets.exporters.pictures import jpeg_file
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.exporters.voc import constants as voc
from diffumask_datasets.exporters.voc.convert import bndbox, label_map, segmentation_masks

__all__ = ["VocReader", "read_objects", "read_palette_mask"]

Box = tuple[int, int, int, int]


class VocReader:
    """A finished VOC export."""

    def __init__(self, folder: Path, contents: Contents, classes: Sequence[FormatClass], tree: str, ring: int) -> None:
        self._root = folder / "VOCdevkit" / tree
        self._contents, self._classes, self._ring = contents, classes, ring
        self._lists: dict[str, dict[str, str]] = {}

    def checks(self) -> Iterator[Check]:
        """The image sets name exactly the annotations that are there."""
        listed = [name for split in self._contents.splits for name in self._set("Segmentation", short_split(split))]
        there = sorted(path.stem for path in (self._root / voc.ANNOTATIONS).iterdir())
        yield Check("image sets", sorted(listed) == there, f"{len(listed)} listed, {len(there)} annotated")
        table = (self._root / voc.LABEL_MAP).read_bytes()
        yield Check(
            voc.LABEL_MAP, table == label_map(self._classes), f"{len(self._classes)} classes, background and void"
        )

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Pixels of image and masks, boxes and names of objects, the class lists."""
        expected = segmentation_masks(sample, self._classes, ring=self._ring)
        for folder, wanted in zip((voc.CLASS_MASKS, voc.OBJECT_MASKS), expected, strict=True):
            found = read_palette_mask(self._root / folder / f"{sample.sample_id}.png")
            differing = wanted.size if found.shape != wanted.shape else int((found != wanted).sum())
            tally.add(f"{folder} pixels", differing=differing, compared=wanted.size)
        self._compare_objects(sample, tally)
        image = (self._root / voc.IMAGES / f"{sample.sample_id}.jpg").read_bytes()
        tally.add("images", differing=int(image != jpeg_file(sample)), compared=1)
        present = set(sample.visible)
        for class_id, known in enumerate(self._classes, start=1):
            wrong = self._is_positive(known.name, sample) != (class_id in present)
            tally.add("class lists", differing=int(wrong), compared=1)

    def _compare_objects(self, sample: ExportSample, tally: Tally) -> None:
        wanted = [(self._classes[found.category - 1].name, bndbox(found.bbox_xywh)) for found in sample.objects]
        found = read_objects(self._root / voc.ANNOTATIONS / f"{sample.sample_id}.xml")
        tally.add("object counts", differing=int(len(found) != len(wanted)), compared=1)
        for (name, box), (wanted_name, wanted_box) in zip(found, wanted, strict=False):
            tally.add("object names", differing=int(name != wanted_name), compared=1)
            tally.add("boxes", differing=int(box != wanted_box), compared=1)

    def _is_positive(self, class_name: str, sample: ExportSample) -> bool:
        return self._positives(f"{class_name}_{sample.short_split}").get(sample.sample_id) == "1"

    def _positives(self, name: str) -> dict[str, str]:
        if name not in self._lists:
            lines = (line.rpartition(" ") for line in self._set("Main", name))
            self._lists[name] = {sample_id.strip(): sign for sample_id, _, sign in lines}
        return self._lists[name]

    def _set(self, task: str, name: str) -> list[str]:
        return (self._root / "ImageSets" / task / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def read_palette_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Palette indices (height, width); an empty array where it is no palette PNG of VOC's colours."""
    picture = open_image(path)
    colours = np.asarray(picture.getpalette(), dtype=np.uint8) if picture.mode == "P" else np.empty(0)
    if not np.array_equal(colours, voc.PALETTE.ravel()[: colours.size]) or not colours.size:
        return np.empty((0, 0), dtype=np.uint8)
    return np.asarray(picture, dtype=np.uint8)


def read_objects(path: Path) -> list[tuple[str, Box]]:
    """Name and (xmin, ymin, xmax, ymax) of each object of an annotation, in order."""
    root = ElementTree.parse(path).getroot()
    return [(group.findtext("name", ""), _box(group)) for group in root.iter("object")]


def _box(group: ElementTree.Element) -> Box:
    xmin, ymin, xmax, ymax = (int(group.findtext(f"bndbox/{name}", "0")) for name in ("xmin", "ymin", "xmax", "ymax"))
    return xmin, ymin, xmax, ymax
