"""Pascal VOC: the VOCdevkit tree with palette masks, XML and image sets."""

from diffumask_datasets.exporters.voc.exporter import VocExporter

__all__ = ["VocExporter"]
