"""Cityscapes as a format with its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.cityscapes import constants as cityscapes
from diffumask_datasets.exporters.cityscapes.labels import LabelTable, mapped_labels, own_labels
from diffumask_datasets.exporters.cityscapes.reader import CityscapesReader
from diffumask_datasets.exporters.cityscapes.writer import CityscapesWriter
from diffumask_datasets.exporters.classes import check_choice
from diffumask_datasets.exporters.contents import Contents

__all__ = ["CityscapesExporter"]


@dataclass(frozen=True)
class CityscapesExporter:
    """Cityscapes. ``class_map``: class name → label name, for classes that Cityscapes calls otherwise.

    ``labels=own`` writes a label table of the dataset's own classes beside the official one, ``labels.json``; the
    official tools cannot score such a dataset. Background becomes ``unlabeled`` and unsure pixels ``out of roi``, unless
    the map says otherwise by the names ``background`` and ``ignore``.
    """

    class_map: Mapping[str, str] = field(default_factory=dict)
    labels: str = "official"
    city: str = cityscapes.CITY

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> CityscapesWriter:
        """Raises ExportError for a class without a label, or a city that breaks file names."""
        if not (isinstance(self.city, str) and self.city.isalnum()):
            raise ExportError(f"city: expected letters and digits only, got {self.city!r}: '_' parts the file names")
        return CityscapesWriter(self._table(contents), self.city, self.labels)

    def read(self, folder: Path, contents: Contents) -> CityscapesReader:
        """Reads by cityscapesscripts where it is installed, else by the same definitions."""
        return CityscapesReader(folder, contents, self.open(contents))

    def _table(self, contents: Contents) -> LabelTable:
        check_choice("labels", self.labels, ("official", "own"))
        if not isinstance(self.class_map, Mapping):
            raise ExportError(f"class_map: expected class: label pairs, got {self.class_map!r}")
        return own_labels(contents.classes) if self.labels == "own" else mapped_labels(contents.classes, self.class_map)
