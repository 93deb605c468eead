"""Cityscapes: leftImg8bit, and gtFine with ids, train ids, instances, colours and polygons."""

from diffumask_datasets.exporters.cityscapes.exporter import CityscapesExporter

__all__ = ["CityscapesExporter"]
