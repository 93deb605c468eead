"""Formats by name: ours, and those that installed packages offer as entry points of the group :data:`GROUP`."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Mapping
from typing import Any

from diffumask_datasets.errors import ExportError, suggestion
from diffumask_datasets.exporters.protocol import Exporter

__all__ = ["GROUP", "formats", "make_exporter"]

GROUP = "diffumask_datasets.exporters"

_HERE = "diffumask_datasets.exporters"

BUILT_IN = {
    "ade20k": f"{_HERE}.ade20k:Ade20kExporter",
    "cityscapes": f"{_HERE}.cityscapes:CityscapesExporter",
    "coco": f"{_HERE}.coco:CocoExporter",
    "coco-captions": f"{_HERE}.coco:CocoCaptionsExporter",
    "coco-panoptic": f"{_HERE}.coco:CocoPanopticExporter",
    "coco-stuff": f"{_HERE}.coco:CocoStuffExporter",
    "imagefolder": f"{_HERE}.imagefolder:ImageFolderExporter",
    "labelme": f"{_HERE}.labelme:LabelMeExporter",
    "voc": f"{_HERE}.voc:VocExporter",
    "webdataset": f"{_HERE}.webdataset:WebDatasetExporter",
    "yolo": f"{_HERE}.yolo:YoloExporter",
    "yolo-semantic": f"{_HERE}.yolo_semantic:YoloSemanticExporter",
}
"""Format → its exporter, as ``module:class``."""


def formats() -> tuple[str, ...]:
    """The names of all formats that are installed, in alphabetical order."""
    return tuple(sorted(_entry_points()))


def make_exporter(name: str, options: Mapping[str, Any]) -> Exporter:
    """The exporter of a format, with these options.

    Raises:
        ExportError: an unknown format or option, or one whose package cannot be imported.
    """
    points = _entry_points()
    if name not in points:
        raise ExportError(f"unknown format {name!r}{suggestion(name, points)}; formats: {', '.join(sorted(points))}")
    try:
        kind = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ExportError(f"the format {name!r} ({points[name].value}) cannot be loaded: {error}") from error
    legal = [field for field in inspect.signature(kind).parameters if field != "self"]
    for option in options:
        if option not in legal:
            raise ExportError(
                f"unknown option {option!r} of the format {name}{suggestion(option, legal)}; "
                f"options: {', '.join(legal) or 'none'}"
            )
    exporter: Exporter = kind(**options)
    return exporter


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    offered = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    return offered | {name: importlib.metadata.EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
