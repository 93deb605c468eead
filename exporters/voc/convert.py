"""A sample in the terms of Pascal VOC: masks with void rings, boxes from 1, annotation XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.classes import FormatClass, lookup
from diffumask_datasets.exporters.contents import ExportSample
from diffumask_datasets.exporters.voc.constants import DATABASE, MAX_OBJECTS, PALETTE, UNSPECIFIED, VOID, VOID_NAME
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME

__all__ = ["annotation_xml", "bndbox", "label_map", "segmentation_masks"]

DECLARATION = "<?xml version='1.0' encoding='utf-8'?>"

Values = npt.NDArray[np.uint8]


def segmentation_masks(sample: ExportSample, classes: Sequence[FormatClass], *, ring: int = 0) -> tuple[Values, Values]:
    """Makes the masks of VOC. Objects are numbered from 1 in the sample's order. Unsure pixels are void in both.

    Args:
        sample: The sample.
        classes: The format's classes.
        ring: So many pixels on each side of every border are made void too.

    Returns:
        SegmentationClass and SegmentationObject, (height, width) each.

    Raises:
        ExportError: More than 254 objects, or two that overlap.
    """
    if len(sample.objects) > MAX_OBJECTS:
        raise ExportError(
            f"sample {sample.sample_id}: {len(sample.objects)} objects; SegmentationObject holds at most {MAX_OBJECTS} "
            "(255 is void); raise min_area, drop the sample, or export as coco"
        )
    numbers = lookup([known.number for known in classes])
    is_same = all(numbers[value] == value for value in sample.values)
    semantic = sample.label.copy() if is_same else numbers.take(sample.label)
    objects = sample.places().astype(np.uint8, copy=False)
    if VOID in sample.values:
        void = sample.label == VOID
        void &= objects == 0
        objects[void] = VOID
    if ring:
        border = _border(semantic, objects, ring)
        semantic[border] = objects[border] = VOID
    return semantic, objects


def bndbox(bbox_xywh: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """xmin, ymin, xmax, ymax of a pixel box: counted from 1, the last pixel included."""
    left, top, width, height = (round(number) for number in bbox_xywh)
    return left + 1, top + 1, left + width, top + height


def annotation_xml(sample: ExportSample, classes: Sequence[FormatClass], *, folder: str) -> bytes:
    """Makes the file in Annotations.

    Args:
        sample: The sample.
        classes: The format's classes.
        folder: The name of the folder that it speaks of.

    Returns:
        Its text.
    """
    root = ElementTree.Element("annotation")
    _add(root, folder=folder, filename=f"{sample.sample_id}.jpg")
    _add(_group(root, "source"), database=DATABASE, annotation=DATABASE, image=DATABASE)
    _add(_group(root, "size"), width=sample.width, height=sample.height, depth=3)
    _add(root, segmented=1)
    for found in sample.objects:
        group = _group(root, "object")
        _add(group, name=classes[found.category - 1].name, pose=UNSPECIFIED, truncated=0, occluded=0, difficult=0)
        corners = zip(("xmin", "ymin", "xmax", "ymax"), bndbox(found.bbox_xywh), strict=True)
        _add(_group(group, "bndbox"), **dict(corners))
    ElementTree.indent(root, "\t")
    # As text and encoded afterwards: ElementTree's own encoding takes ten times as long.
    return f"{DECLARATION}\n{ElementTree.tostring(root, encoding='unicode')}\n".encode()


def label_map(classes: Sequence[FormatClass]) -> bytes:
    """The file ``labelmap.txt``. It names void too: readers refuse a mask that has a colour without a name."""
    rows = [(BACKGROUND_NAME, BACKGROUND), *((known.name, known.number) for known in classes), (VOID_NAME, VOID)]
    lines = [f"{name}:{','.join(map(str, PALETTE[number]))}::\n" for name, number in rows]
    return ("# label:color_rgb:parts:actions\n" + "".join(lines)).encode()


def _border(semantic: Values, objects: Values, ring: int) -> npt.NDArray[np.bool_]:
    border = np.zeros(semantic.shape, dtype=bool)
    for values in (semantic, objects):
        rows, columns = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
        border[1:] |= rows
        border[:-1] |= rows
        border[:, 1:] |= columns
        border[:, :-1] |= columns
    if ring > 1:
        border = ndimage.binary_dilation(border, np.ones((3, 3), dtype=bool), iterations=ring - 1)
    return border


def _group(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, name)


def _add(parent: ElementTree.Element, **texts: object) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)
