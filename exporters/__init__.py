"""Dataset formats, one folder or file each, behind one protocol; rows are read through ``columns``, never a builder."""

from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record
from diffumask_datasets.exporters.protocol import Check, Exporter, Reader, Tally, Writer
from diffumask_datasets.exporters.registry import formats
from diffumask_datasets.exporters.run import export
from diffumask_datasets.exporters.verification import verify

__all__ = [
    "Check",
    "Contents",
    "ExportSample",
    "Exporter",
    "Part",
    "Reader",
    "Record",
    "Tally",
    "Writer",
    "export",
    "formats",
    "verify",
]
