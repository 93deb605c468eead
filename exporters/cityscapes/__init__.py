"""Cityscapes: leftImg8bit, and gtFine with ids, train ids, instances, colours and polygons."""

from diffumask_datasets.exporters.cityscapes.writer import CityscapesExporter

__all__ = ["CityscapesExporter"]
