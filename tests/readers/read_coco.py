"""COCO exports, by the programs that read COCO."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from tests.readers.exported import Export
from tests.readers.reading import Reading, number_of

SPLITS = ("train2017", "val2017")
PARTS = {"coco": "instances", "coco-panoptic": "panoptic", "coco-stuff": "stuff", "coco-captions": "captions"}


def by_pycocotools(folder: Path, export: Export) -> Iterator[Reading]:
    """Objects and boxes, stuff as masks, captions; images by Pillow."""
    part = PARTS[export.format]
    for split in SPLITS:
        coco = _coco(folder / f"annotations/{part}_{split}.json")
        for image_id, image in coco.imgs.items():
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
            pixels = np.asarray(Image.open(folder / split / image["file_name"]))
            sample_id = Path(image["file_name"]).stem
            if part == "captions":
                yield Reading(sample_id, pixels, caption=annotations[0]["caption"])
                continue
            numbers = [number_of(coco.cats[found["category_id"]]["name"], export.classes) for found in annotations]
            masks = [coco.annToMask(found).astype(bool) for found in annotations]
            boxes = [found["bbox"] for found in annotations]
            # Stuff has a region for each class, as objects have here.
            yield Reading(
                sample_id,
                pixels,
                objects=list(zip(numbers, masks, strict=True)),
                boxes=list(zip(numbers, boxes, strict=True)),
            )


def by_supervision(folder: Path, export: Export) -> Iterator[Reading]:
    """Objects; boxes lose their last digit on the way."""
    import supervision

    for split in SPLITS:
        read = supervision.DetectionDataset.from_coco(
            images_directory_path=str(folder / split),
            annotations_path=str(folder / f"annotations/instances_{split}.json"),
            force_masks=True,
        )
        for path, image, found in read:
            numbers = [number_of(read.classes[number], export.classes) for number in found.class_id]
            objects = list(zip(numbers, found.mask.astype(bool), strict=True))
            yield Reading(Path(path).stem, image[..., ::-1], objects=objects)


def by_torchvision(folder: Path, export: Export) -> Iterator[Reading]:
    """``CocoDetection`` and ``CocoCaptions``."""
    from torchvision.datasets import CocoCaptions, CocoDetection

    part = PARTS[export.format]
    for split in SPLITS:
        kind = CocoCaptions if part == "captions" else CocoDetection
        with contextlib.redirect_stdout(io.StringIO()):
            read = kind(str(folder / split), str(folder / f"annotations/{part}_{split}.json"))
        for place, image_id in enumerate(read.ids):
            picture, target = read[place]
            sample_id = Path(read.coco.imgs[image_id]["file_name"]).stem
            if part == "captions":
                yield Reading(sample_id, np.asarray(picture), caption=target[0])
                continue
            numbers = [number_of(read.coco.cats[found["category_id"]]["name"], export.classes) for found in target]
            masks = [read.coco.annToMask(found).astype(bool) for found in target]
            boxes = [found["bbox"] for found in target]
            objects, found = list(zip(numbers, masks, strict=True)), list(zip(numbers, boxes, strict=True))
            yield Reading(sample_id, np.asarray(picture), objects=objects, boxes=found)


def by_detectron2s_rule(folder: Path, export: Export) -> Iterator[Reading]:
    """Panoptic, as detectron2's ``load_coco_panoptic_json`` looks for files: every image is ``.jpg``."""
    for split in SPLITS:
        content = json.loads((folder / f"annotations/panoptic_{split}.json").read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in content["categories"]}
        for annotation in content["annotations"]:
            stem = Path(annotation["file_name"]).stem
            Image.open(folder / split / f"{stem}.jpg").verify()
            ids = _segments(folder / f"annotations/panoptic_{split}" / annotation["file_name"])
            objects = [
                (number_of(names[info["category_id"]], export.classes), ids == info["id"])
                for info in annotation["segments_info"]
            ]
            yield Reading(stem, objects=objects)


def _segments(path: Path) -> np.ndarray:
    red, green, blue = np.moveaxis(np.asarray(Image.open(path)).astype(np.int64), -1, 0)
    return red + 256 * green + 65536 * blue


def _coco(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))
