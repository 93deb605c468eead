"""Reads a Cityscapes export: pictures by Pillow, polygons drawn by cityscapesscripts where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.cityscapes import constants as cityscapes
from diffumask_datasets.exporters.cityscapes.convert import Pictures, draw_polygons, layers_of, polygons_of
from diffumask_datasets.exporters.cityscapes.writer import CityscapesWriter
from diffumask_datasets.exporters.contents import Contents, ExportSample, short_split
from diffumask_datasets.exporters.outlines import parts_of
from diffumask_datasets.exporters.pictures import png_file
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["CityscapesReader"]


class CityscapesReader:
    """A finished Cityscapes export."""

    def __init__(self, folder: Path, contents: Contents, writer: CityscapesWriter) -> None:
        self._folder, self._contents, self._writer = folder, contents, writer

    def checks(self) -> Iterator[Check]:
        """Every image has its polygons and pictures."""
        for split in map(short_split, self._contents.splits):
            images = len(list((self._folder / cityscapes.IMAGES / split).rglob("*.png")))
            polygons = len(list((self._folder / cityscapes.ANNOTATIONS / split).rglob("*_polygons.json")))
            yield Check(f"split {split}", images == polygons, f"{images} images, {polygons} annotations")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Each picture, and the polygons as the official tools draw them."""
        writer, table = self._writer, self._writer.table
        layers = layers_of(sample, table)
        numbers = table.numbers("number")[layers.values]
        expected: dict[str, npt.NDArray[Any]] = {
            "labelIds": numbers,
            "labelTrainIds": table.numbers("train_id")[layers.values],
            "instanceIds": layers.instances,
            "color": table.colours()[layers.values],
        }
        for kind, wanted in expected.items():
            found = np.asarray(open_image(self._folder / writer.path(sample, f"{kind}.png")))
            _add(tally, f"{kind} pixels", found, wanted)
        path = self._folder / writer.path(sample, "polygons.json")
        labels, instances = _rasterized(path, writer)
        wanted_labels, wanted_instances = draw_polygons(polygons_of(layers, table), table)
        _add(tally, "labelIds from polygons", labels, wanted_labels)
        _add(tally, "instanceIds from polygons", instances, wanted_instances)
        damaged = int((wanted_instances != layers.instances).sum())
        # One polygon an instance cannot say everything of parts that are interleaved; the pictures can.
        several = any(len(parts_of(mask)) > 1 for _, mask in layers.drawn)
        name = f"polygons against pictures, {'instances of several parts' if several else 'connected instances'}"
        tally.add(name, differing=damaged, compared=layers.values.size, lossy=several)
        image = (self._folder / writer.image_path(sample)).read_bytes()
        tally.add("images", differing=int(image != png_file(sample)), compared=1)


def _rasterized(path: Path, writer: CityscapesWriter) -> Pictures:
    try:
        from cityscapesscripts.helpers.annotation import Annotation
        from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
        from cityscapesscripts.preparation.json2labelImg import createLabelImage
    except ImportError:
        official = False
    else:
        official = writer.labels == "official"
    if not official:
        return draw_polygons(read_json(path, what="the polygons", error=ExportError), writer.table)
    annotation = Annotation()
    annotation.fromJsonFile(str(path))
    pictures = createLabelImage(annotation, "ids"), createInstanceImage(annotation, "ids")
    labels, instances = (np.asarray(picture, dtype=np.int64) for picture in pictures)
    return labels, instances


def _add(tally: Tally, name: str, found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
    differing = wanted.size if found.shape != wanted.shape else int((found != wanted).sum())
    tally.add(name, differing=differing, compared=wanted.size)
