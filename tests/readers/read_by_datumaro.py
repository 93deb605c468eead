"""datumaro on COCO, VOC and Cityscapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.sample import BACKGROUND, IGNORE
from tests.readers.exported import Export, frames_of
from tests.readers.reading import Reading, number_of

FORMATS = {
    "coco": "coco",
    "coco-panoptic": "coco_panoptic",
    "coco-stuff": "coco_stuff",
    "coco-captions": "coco_captions",
    "voc": "voc_segmentation",
    "cityscapes": "cityscapes",
}
NO_CLASS = {"background": BACKGROUND, "ignored": IGNORE}


def by_datumaro(folder: Path, export: Export) -> Iterator[Reading]:
    """Images, and objects or masks, whatever its importer makes of them."""
    from datumaro.components.dataset import Dataset

    root = folder / "VOCdevkit/VOC2012" if export.format == "voc" else folder
    if export.format.startswith("coco"):
        # Its importer knows images/<split> alone.
        (folder / "images").symlink_to(".", target_is_directory=True)
    items = {(item.id, item.subset): item for item in Dataset.import_from(str(root), FORMATS[export.format])}
    names = _names(Dataset.import_from(str(root), FORMATS[export.format]))
    frames = frames_of(folder)
    # trainval and its parts are subsets of their own.
    for (item_id, subset), item in items.items():
        if subset != "trainval":
            sample_id = frames.get(Path(item_id).name, item_id)
            yield _reading(item, sample_id, names, export)


def _reading(item: Any, sample_id: str, names: list[str], export: Export) -> Reading:
    image = item.media.data[..., ::-1]
    found = item.annotations
    if export.format == "coco-captions":
        return Reading(sample_id, image, caption=found[0].caption)
    if export.format in ("voc", "cityscapes"):
        return Reading(sample_id, image, mask=_mask(found, image.shape[:2], names, export))
    objects: dict[int, list[Any]] = {}
    boxes = []
    for annotation in found:
        if annotation.type.name == "bbox":
            boxes.append((number_of(names[annotation.label], export.classes), annotation.get_bbox()))
        else:
            objects.setdefault(annotation.group, []).append(annotation)
    merged = [
        (number_of(names[parts[0].label], export.classes), _union(parts, image.shape[:2])) for parts in objects.values()
    ]
    return Reading(sample_id, image, objects=merged, boxes=boxes or None)


def _mask(found: list[Any], shape: tuple[int, ...], names: list[str], export: Export) -> np.ndarray:
    mask = np.full(shape, BACKGROUND if export.has_background else IGNORE, dtype=np.uint8)
    for annotation in found:
        name = names[annotation.label]
        mask[annotation.image.astype(bool)] = NO_CLASS[name] if name in NO_CLASS else number_of(name, export.classes)
    return mask


def _union(parts: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """The masks of one object; polygons are decoded by pycocotools, as datumaro's own transform does."""
    from pycocotools import mask as coco_mask

    union = np.zeros(shape, dtype=bool)
    for part in parts:
        if part.type.name == "polygon":
            points = [float(number) for number in part.points]
            union |= coco_mask.decode(coco_mask.frPyObjects([points], *shape))[..., 0].astype(bool)
        else:
            union |= part.image.astype(bool)
    return union


def _names(dataset: Any) -> list[str]:
    from datumaro.components.annotation import AnnotationType

    categories = dataset.categories()
    known = categories.get(AnnotationType.label, ())
    return [label.name for label in known]
