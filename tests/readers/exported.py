"""The exports that are read: each format with the options that change what its readers see."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from diffumask_datasets import export
from diffumask_datasets.dataset.schema import decode_image, decode_label
from tests.helpers.made_datasets import dataset, drawn, row_of_instances

COCO = ("car", "potted plant", "boat")
STREET = ("car", "vegetation", "bus")
OTHER = ("car", "tree", "boat")
"""Not the classes of any table."""


def two_posts() -> dict[str, Any]:
    """A row whose first object has two parts, far from each other."""
    instances = np.zeros((40, 56), dtype=np.int64)
    instances[4:30, 4:6] = instances[4:30, 20:22] = 1
    instances[33:38, 10:40] = 2
    return row_of_instances(instances, sample_id="posts-0001")


ROWS: Mapping[str, list[dict[str, Any]]] = {
    "train": [drawn(0), drawn(3)],
    "validation": [drawn(1), two_posts()],
}


@dataclass(frozen=True, eq=False)
class Export:
    """An export that is to be read. ``has_background``: its readers know pixels of no class from unsure ones."""

    format: str
    classes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    has_background: bool = True

    @property
    def is_jpeg(self) -> bool:
        """Whether its images are JPEG."""
        return self.format in ("voc", "ade20k") or self.options.get("images") == "jpeg"

    @property
    def title(self) -> str:
        """The format and its options, as one writes them on the command line."""
        options = [f"{name}={str(value).lower()}" for name, value in self.options.items()]
        return " ".join([f"`{self.format}`", *(f"`{option}`" for option in options), *self._classes])

    @property
    def _classes(self) -> list[str]:
        return ["(other classes)"] if self.format == "voc" and self.classes == OTHER else []

    def write(self, folder: Path) -> None:
        """Writes it."""
        source = {split: dataset(rows, classes=self.classes, split=split) for split, rows in ROWS.items()}
        export(source, folder, format=self.format, **self.options)


@dataclass(frozen=True)
class Truth:
    """What a sample holds: objects and boxes by the number of their class. ``jpeg`` is what JPEG leaves of the image."""

    image: np.ndarray
    jpeg: np.ndarray
    label: np.ndarray
    objects: list[tuple[int, np.ndarray]]
    boxes: list[tuple[int, tuple[float, ...]]]
    caption: str


def truths() -> dict[str, Truth]:
    """Sample id → what is in it."""
    return {row["sample_id"]: _truth(row) for rows in ROWS.values() for row in rows}


def _truth(row: dict[str, Any]) -> Truth:
    objects = row["objects"]
    masks = [coco_mask.decode(run).astype(bool) for run in objects["segmentation"]]
    boxes = [tuple(map(float, box)) for box in objects["bbox"]]
    image = decode_image(row["image"])
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
    return Truth(
        image,
        np.asarray(Image.open(file)),
        decode_label(row["label"]),
        list(zip(objects["category"], masks, strict=True)),
        list(zip(objects["category"], boxes, strict=True)),
        row["prompt"],
    )


def frames_of(folder: Path) -> dict[str, str]:
    """Frame → sample id, as a Cityscapes export says; empty for other formats."""
    lines = [line for path in folder.glob("*_samples.tsv") for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("\t") for line in lines)


EXPORTS = (
    Export("coco", COCO),
    Export("coco", OTHER, {"polygons": True}),
    Export("coco-panoptic", COCO),
    Export("coco-panoptic", COCO, {"images": "jpeg"}),
    Export("coco-stuff", COCO),
    Export("coco-captions", COCO),
    Export("voc", COCO),
    Export("voc", OTHER),
    Export("cityscapes", STREET, has_background=False),
    Export("cityscapes", OTHER, {"labels": "own"}, has_background=False),
    Export("labelme", OTHER),
    Export("yolo", OTHER),
    Export("yolo-semantic", OTHER),
    Export("ade20k", OTHER, has_background=False),
    Export("imagefolder", OTHER),
    Export("webdataset", OTHER),
)
