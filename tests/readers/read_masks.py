"""VOC, Cityscapes, ADE20K and image folders, by the programs that read masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.exporters.cityscapes.constants import LABELS
from diffumask_datasets.exporters.voc.constants import CLASSES as VOC_CLASSES
from diffumask_datasets.sample import BACKGROUND, IGNORE
from tests.readers.exported import Export, frames_of
from tests.readers.reading import Reading, number_of, renumbered

VOC = "VOCdevkit/VOC2012"
ADE = "ADEChallengeData2016"
NO_CLASS = {BACKGROUND: BACKGROUND, IGNORE: IGNORE}
LAYOUTS = {"voc": ("voc", VOC), "cityscapes": ("cityscapes", "."), "ade20k": ("ade20k", ADE)}


def by_ours(folder: Path, export: Export) -> Iterator[Reading]:
    """``diffumask evaluate`` and ``train``."""
    from diffumask_datasets.segmentation.labelled import labelled_rows, translated, translation
    from diffumask_datasets.segmentation.layouts import read_layout

    layout, root = LAYOUTS.get(export.format, ("folder", "."))
    for split in ("train", "validation" if layout == "folder" else "val"):
        data = read_layout(layout, folder / root, split=split)
        table = translation(data, export.classes, rename={}, others=IGNORE, background=BACKGROUND)
        for example in labelled_rows(data):
            name = frames_of(folder).get(example.sample_id, example.sample_id)
            yield Reading(name, example.image, mask=translated(example, table))


def by_torchvision(folder: Path, export: Export) -> Iterator[Reading]:
    """``VOCSegmentation`` with ``VOCDetection``, or ``Cityscapes``."""
    yield from _cityscapes(folder, export) if export.format == "cityscapes" else _voc(folder, export)


def _voc(folder: Path, export: Export) -> Iterator[Reading]:
    from torchvision.datasets import VOCDetection, VOCSegmentation

    for split in ("train", "val"):
        masks = VOCSegmentation(str(folder), year="2012", image_set=split)
        details = VOCDetection(str(folder), year="2012", image_set=split)
        for place, ((picture, target), (_, tree)) in enumerate(zip(masks, details, strict=True)):
            mask = renumbered(np.asarray(target), _voc_numbers(export))
            boxes = [_box(found, export) for found in tree["annotation"]["object"]]
            yield Reading(Path(masks.images[place]).stem, np.asarray(picture), mask=mask, boxes=boxes)


def _voc_numbers(export: Export) -> dict[int, int]:
    """Value in the masks → class id: torchvision and mmsegmentation give values, and know VOC's 20 classes."""
    own = {number: number for number in range(1, len(export.classes) + 1)}
    names = {name.replace(" ", ""): number for name, number in VOC_CLASSES.items()}
    official = {names.get(name.replace(" ", ""), 0): number for number, name in enumerate(export.classes, start=1)}
    return NO_CLASS | (official if 0 not in official else own)


def _box(found: Any, export: Export) -> tuple[int, tuple[float, ...]]:
    left, top, right, bottom = (int(found["bndbox"][name]) for name in ("xmin", "ymin", "xmax", "ymax"))
    box = (float(left - 1), float(top - 1), float(right - left + 1), float(bottom - top + 1))
    return number_of(found["name"], export.classes), box


def _cityscapes(folder: Path, export: Export) -> Iterator[Reading]:
    from torchvision.datasets import Cityscapes

    frames = frames_of(folder)
    for split in ("train", "val"):
        read = Cityscapes(str(folder), split=split, mode="fine", target_type=["semantic", "instance"])
        for place, (picture, (semantic, instance)) in enumerate(read):
            frame = Path(read.images[place]).name.removesuffix("_leftImg8bit.png")
            values = np.asarray(semantic)
            mask = renumbered(values, _label_numbers(export, "number") | {0: IGNORE, 3: IGNORE})
            yield Reading(frames[frame], np.asarray(picture), mask=mask, objects=_things(np.asarray(instance), export))


def _label_numbers(export: Export, field: str) -> dict[int, int]:
    rows = {getattr(row, field): row.name for row in LABELS if row.train_id not in (-1, IGNORE)}
    return {value: number_of(name, export.classes) for value, name in rows.items() if name in export.classes}


def _things(instances: np.ndarray, export: Export) -> list[tuple[int, np.ndarray]]:
    """Objects of classes that have instances; vegetation, which has none, as one."""
    numbers = _label_numbers(export, "number")
    found = []
    for value in np.unique(instances).tolist():
        number = numbers.get(value // 1000 if value >= 1000 else value)
        if number is not None:
            found.append((number, instances == value))
    return found


def by_cityscapesscripts(folder: Path, export: Export) -> Iterator[Reading]:
    """What the official tools draw from the polygons."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    for path in sorted((folder / "gtFine").rglob("*_polygons.json")):
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        values, instances = (np.asarray(draw(annotation, "ids")) for draw in (createLabelImage, createInstanceImage))
        mask = renumbered(values, _label_numbers(export, "number") | {0: IGNORE, 3: IGNORE})
        frame = path.name.removesuffix("_gtFine_polygons.json")
        yield Reading(frames_of(folder)[frame], mask=mask, objects=_things(instances, export))


def by_mmsegmentation(folder: Path, export: Export) -> Iterator[Reading]:
    """The dataset class of the layout with its loading steps; ``BaseSegDataset`` for classes of one's own."""
    frames = frames_of(folder)
    for data in _mmsegmentation(folder, export):
        for row in data:
            name = Path(row["img_path"]).stem.removesuffix("_leftImg8bit")
            image = row["img"][..., ::-1]
            mask = renumbered(row["gt_seg_map"], _mmsegmentation_numbers(export))
            yield Reading(frames.get(name, name), image, mask=mask)


def _mmsegmentation(folder: Path, export: Export) -> Iterator[Any]:
    from mmseg import datasets
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    load = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    own = {"metainfo": {"classes": ("background", *export.classes)}, "reduce_zero_label": False, "pipeline": load}
    for split, short in (("train", "train"), ("validation", "val")):
        if export.format == "voc":
            places: dict[str, Any] = {
                "data_root": str(folder / VOC),
                "ann_file": f"ImageSets/Segmentation/{short}.txt",
                "data_prefix": {"img_path": "JPEGImages", "seg_map_path": "SegmentationClass"},
            }
            if set(_voc_numbers(export)) == {0, 1, 2, 3, IGNORE}:
                yield datasets.BaseSegDataset(**places, **own)
            else:
                yield datasets.PascalVOCDataset(**places, pipeline=load)
        elif export.format == "cityscapes":
            prefix = {"img_path": f"leftImg8bit/{short}", "seg_map_path": f"gtFine/{short}"}
            yield datasets.CityscapesDataset(data_root=str(folder), data_prefix=prefix, pipeline=load)
        elif export.format == "ade20k":
            name = {"train": "training"}.get(split, split)
            prefix = {"img_path": f"images/{name}", "seg_map_path": f"annotations/{name}"}
            yield datasets.ADE20KDataset(data_root=str(folder / ADE), data_prefix=prefix, pipeline=load)
        else:
            prefix = {"img_path": "images", "seg_map_path": "labels"}
            yield datasets.BaseSegDataset(
                data_root=str(folder / split), img_suffix=".png", seg_map_suffix=".png", data_prefix=prefix, **own
            )


def _mmsegmentation_numbers(export: Export) -> dict[int, int]:
    """Train ids in Cityscapes; in ADE20K class ids less one, because 0 became void."""
    if export.format == "cityscapes":
        return _label_numbers(export, "train_id") | {IGNORE: IGNORE}
    if export.format == "ade20k":
        return {number - 1: number for number in range(1, len(export.classes) + 1)} | {IGNORE: IGNORE}
    return _voc_numbers(export) if export.format == "voc" else {number: number for number in (0, 1, 2, 3, IGNORE)}
