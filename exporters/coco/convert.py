"""A sample in the terms of COCO: annotations, panoptic segments, stuff regions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.exporters.classes import FormatClass, lookup
from diffumask_datasets.exporters.coco.constants import VOID
from diffumask_datasets.exporters.coco.polygons import edge_polygons
from diffumask_datasets.exporters.contents import ExportSample
from diffumask_datasets.masks import rle
from diffumask_datasets.sample import IGNORE

__all__ = [
    "instance_annotations",
    "panoptic_segments",
    "segment_colours",
    "segment_ids",
    "stuff_annotations",
    "stuff_map",
]

Annotation = dict[str, Any]


def instance_annotations(
    sample: ExportSample, classes: Sequence[FormatClass], *, polygons: bool = False
) -> list[Annotation]:
    """Makes one annotation per object, without its id, which counts over the whole file.

    Args:
        sample: The sample.
        classes: The format's classes.
        polygons: Polygons in place of run lengths.

    Returns:
        The annotations.
    """
    found = []
    for annotation in sample.objects:
        segmentation: Any = annotation.segmentation
        if polygons:
            segmentation = edge_polygons(rle.decode(annotation.segmentation, sample.label.shape))
        found.append(
            {
                "image_id": sample.ordinal,
                "category_id": classes[annotation.category - 1].number,
                "segmentation": segmentation,
                "area": annotation.area,
                "bbox": list(annotation.bbox_xywh),
                "iscrowd": 0,
            }
        )
    return found


def panoptic_segments(
    sample: ExportSample, classes: Sequence[FormatClass], *, stuff: Collection[int]
) -> tuple[npt.NDArray[np.int32], list[Annotation]]:
    """Makes the segments of COCO's panoptic task.

    Objects are segments, numbered as in the sample, unless their class is stuff. Pixels of a thing class that no object
    holds become a crowd segment, which panoptic quality leaves out.

    Args:
        sample: The sample.
        classes: The format's classes.
        stuff: The class ids that are one segment each.

    Returns:
        Segment ids (height, width), 0 void, and ``segments_info``.

    Raises:
        ExportError: Two objects overlap.
    """
    segments = sample.places().astype(np.int32)
    region = np.where(segments == 0, sample.label, 0).astype(np.int32)
    infos = []
    for place, found in enumerate(sample.objects, start=1):
        if found.category in stuff:
            mask = segments == place
            region[mask], segments[mask] = found.category, 0
        else:
            box = [round(number) for number in found.bbox_xywh]
            infos.append(_segment(place, classes[found.category - 1], found.area, box, iscrowd=0))
    next_id = len(sample.objects)
    for class_id in np.unique(region[(region != 0) & (region != IGNORE)]).tolist():
        next_id += 1
        mask = region == class_id
        segments[mask] = next_id
        run = rle.encode(mask)
        box = [round(number) for number in rle.bbox_xywh(run)]
        infos.append(_segment(next_id, classes[class_id - 1], rle.area(run), box, iscrowd=int(class_id not in stuff)))
    return segments, infos


def segment_colours(segments: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """RGB (height, width, 3) of segment ids: id = R + 256 G + 65536 B."""
    return np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=-1).astype(np.uint8)


def segment_ids(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The ids (height, width) that :func:`segment_colours` was given."""
    wide = colours.astype(np.int64)
    ids: npt.NDArray[np.int64] = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
    return ids


def stuff_annotations(
    sample: ExportSample, classes: Sequence[FormatClass], *, stuff: Collection[int]
) -> list[Annotation]:
    """Makes one annotation per class of stuff that the semantic mask shows, without its id.

    Args:
        sample: The sample.
        classes: The format's classes.
        stuff: The class ids of stuff.

    Returns:
        The annotations.
    """
    found = []
    for class_id in np.unique(sample.label).tolist():
        if class_id in stuff:
            run = rle.encode(sample.label == class_id)
            found.append(
                {
                    "image_id": sample.ordinal,
                    "category_id": classes[class_id - 1].number,
                    "segmentation": run,
                    "area": rle.area(run),
                    "bbox": list(rle.bbox_xywh(run)),
                    "iscrowd": 0,
                }
            )
    return found


def stuff_map(sample: ExportSample, classes: Sequence[FormatClass], *, stuff: Collection[int]) -> npt.NDArray[np.uint8]:
    """Makes the map of COCO's stuff task.

    Args:
        sample: The sample.
        classes: The format's classes.
        stuff: The class ids of stuff.

    Returns:
        uint8 (height, width): category ids of stuff, 0 for everything else, 255 where the mask is unsure.
    """
    numbers = [known.number if class_id in stuff else VOID for class_id, known in enumerate(classes, start=1)]
    return lookup(numbers, background=VOID)[sample.label]


def _segment(number: int, known: FormatClass, area: int, box: list[int], *, iscrowd: int) -> Annotation:
    return {"id": number, "category_id": known.number, "area": area, "bbox": box, "iscrowd": iscrowd}
