"""A sample in the terms of Cityscapes: pictures of ids, and polygons drawn from back to front."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.cityscapes.constants import INSTANCE_BASE, LABELS
from diffumask_datasets.exporters.cityscapes.labels import LabelTable
from diffumask_datasets.exporters.contents import ExportSample, Loss
from diffumask_datasets.exporters.outlines import draw_polygon, mask_iou, outline, parts_of
from diffumask_datasets.sample import BACKGROUND

__all__ = ["Layers", "Pictures", "draw_polygons", "layers_of", "polygon_loss", "polygons_of"]

Mask = npt.NDArray[np.bool_]
Pictures = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Label ids and instance ids, (height, width) each."""

BRIDGE_OVER_INSTANCE = 1e4
"""Cost of a pixel that nothing drawn later would repair."""


class Layers:
    """What the pictures hold: ``values`` (mask values) and ``instances`` (instanceIds), (height, width) each.

    ``drawn`` are the instances from back to front: mask value and mask. Those of several parts come first, because the
    bridges between their parts are drawn over by what follows.
    """

    def __init__(self, values: npt.NDArray[np.uint8], table: LabelTable) -> None:
        self.values = values
        self.instances: npt.NDArray[np.uint16] = table.numbers("number")[values].astype(np.uint16)
        self.drawn: list[tuple[int, Mask]] = []


def layers_of(sample: ExportSample, table: LabelTable) -> Layers:
    """The pictures of a sample. Where mask and object disagree, the object wins.

    Raises:
        ExportError: two objects overlap, or more than 1000 instances of one label.
    """
    places = sample.places()
    values = sample.label.copy()
    found = []
    for place, annotation in enumerate(sample.objects, start=1):
        mask = places == place
        values[mask] = annotation.category
        if table.row(annotation.category).has_instances:
            found.append((annotation.category, mask))
    layers = Layers(values, table)
    layers.drawn = sorted(found, key=lambda instance: len(parts_of(instance[1])) == 1)
    counts: dict[int, int] = {}
    for category, mask in layers.drawn:
        number = table.row(category).number
        counts[number] = counts.get(number, -1) + 1
        if counts[number] >= INSTANCE_BASE:
            raise ExportError(f"sample {sample.sample_id}: more than 1000 instances of {table.row(category).name!r}")
        layers.instances[mask] = number * INSTANCE_BASE + counts[number]
    return layers


def polygons_of(layers: Layers, table: LabelTable) -> dict[str, Any]:
    """The content of polygons.json: instances first, then the regions that have none, then what bridges damaged.

    The official tools draw these to the very same pictures, except where two instances of several parts are so
    interleaved that no bridge avoids the other: one polygon an instance cannot say that.
    """
    height, width = layers.values.shape
    objects = [_object(table.row(value).name, polygon) for value, polygon in _instance_polygons(layers)]
    canvas = _rasterized(layers, objects, table)
    no_instance = ~_any_of([mask for _, mask in layers.drawn], (height, width))
    for value in np.unique(layers.values[no_instance]).tolist():
        row = table.row(value)
        region = no_instance & (layers.values == value)
        # The tools begin with a picture full of background: only what was damaged is drawn again.
        wrong = region & (canvas != row.number)
        if not wrong.any():
            continue
        # A thing outside any object is a group: the tools then give it no instance.
        name = f"{row.name}group" if row.has_instances else row.name
        objects += [_object(name, outline(part)) for part in parts_of(wrong if value == BACKGROUND else region)]
    return {"imgHeight": height, "imgWidth": width, "objects": objects}


def draw_polygons(annotation: dict[str, Any], table: LabelTable) -> Pictures:
    """Label ids and instance ids of a polygons.json by the definition that the official tools follow."""
    rows = {row.name: row for row in (*LABELS, table.background, *table.classes, table.ignore)}
    size_wh = (annotation["imgWidth"], annotation["imgHeight"])
    labels, instances = Image.new("I", size_wh, 0), Image.new("I", size_wh, 0)
    counts: dict[str, int] = {}
    for known in annotation["objects"]:
        group = known["label"] not in rows
        row = rows[known["label"].removesuffix("group") if group else known["label"]]
        value = row.number
        if row.has_instances and not group:
            counts[row.name] = counts.get(row.name, -1) + 1
            value = row.number * INSTANCE_BASE + counts[row.name]
        polygon = [(x, y) for x, y in known["polygon"]]
        draw_polygon(labels, polygon, row.number)
        draw_polygon(instances, polygon, value)
    return np.asarray(labels, dtype=np.int64), np.asarray(instances, dtype=np.int64)


def polygon_loss(layers: Layers, annotation: dict[str, Any], table: LabelTable) -> Loss | None:
    """Says what polygons lose of the pictures.

    Args:
        layers: The sample.
        annotation: Its polygons.
        table: The labels of Cityscapes.

    Returns:
        The loss; None where they hold everything, as they do without interleaved parts.
    """
    if all(len(parts_of(mask)) == 1 for _, mask in layers.drawn):
        return None
    _, instances = draw_polygons(annotation, table)
    overlaps = [mask_iou(instances == layers.instances[mask][0], mask) for _, mask in layers.drawn]
    damaged = [overlap for overlap in overlaps if overlap < 1]
    return Loss(len(damaged), min(damaged)) if damaged else None


def _instance_polygons(layers: Layers) -> list[tuple[int, list[tuple[int, int]]]]:
    found = []
    costs = np.ones(layers.values.shape)
    for value, mask in layers.drawn:
        found.append((value, outline(mask, costs=costs)))
        costs[mask] = BRIDGE_OVER_INSTANCE
    return found


def _rasterized(layers: Layers, objects: list[dict[str, Any]], table: LabelTable) -> npt.NDArray[np.int32]:
    height, width = layers.values.shape
    canvas = Image.new("I", (width, height), 0)
    for (value, _), known in zip(layers.drawn, objects, strict=True):
        draw_polygon(canvas, [(x, y) for x, y in known["polygon"]], table.row(value).number)
    return np.asarray(canvas)


def _object(name: str, polygon: list[tuple[int, int]]) -> dict[str, Any]:
    return {"label": name, "polygon": [list(point) for point in polygon]}


def _any_of(masks: list[Mask], shape: tuple[int, int]) -> Mask:
    union = np.zeros(shape, dtype=bool)
    for mask in masks:
        union |= mask
    return union
