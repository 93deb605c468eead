"""COCO: images, and JSON for instances, panoptic segments, stuff and captions."""

from diffumask_datasets.exporters.coco.exporter import (
    CocoCaptionsExporter,
    CocoExporter,
    CocoPanopticExporter,
    CocoStuffExporter,
)

__all__ = ["CocoCaptionsExporter", "CocoExporter", "CocoPanopticExporter", "CocoStuffExporter"]
