"""The one protocol of all formats: open → write(sample) → close, and the reading back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record

__all__ = ["Check", "Exporter", "Reader", "Tally", "Writer"]


class Writer(Protocol):
    """An export in progress. It writes no file itself, and is sent to worker processes: keep it small and picklable."""

    def write(self, sample: ExportSample) -> Part:
        """The files of one sample. Pure: calls happen in any process and order.

        Raises:
            ExportError: the format cannot hold this sample.
        """

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The files that gather all samples, as (path, next bytes), several files at once if that is handy.

        ``records`` maps each split to the records of its samples in order; they lie on disk and can be iterated again.
        """


class Reader(Protocol):
    """A finished export, read the way its users read it."""

    def checks(self) -> Iterator[Check]:
        """What can be said without the source."""

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Counts what differs between the export and this sample of the source."""


class Exporter(Protocol):
    """A format with its options: a frozen dataclass whose fields are the options."""

    layout: ClassVar[int]
    """Raised whenever the same dataset would be written differently than before."""

    def open(self, contents: Contents) -> Writer:
        """Begins an export, before any file is written.

        Raises:
            ExportError: the format cannot hold these classes or splits, or an option is illegal.
        """

    def read(self, folder: Path, contents: Contents) -> Reader:
        """Opens a finished export."""


@dataclass(frozen=True)
class Check:
    """One line of a report."""

    name: str
    passed: bool
    detail: str


class Tally:
    """Per name: how many things were compared, and how many of them differ."""

    def __init__(self) -> None:
        self._compared: Counter[str] = Counter()
        self._differing: Counter[str] = Counter()
        self._lossy: set[str] = set()

    def add(self, name: str, *, differing: int, compared: int, lossy: bool = False) -> None:
        """Counts one comparison; a difference that the format cannot help (``lossy``) is told and is no failure."""
        if lossy:
            self._lossy.add(name)
        self._compared[name] += compared
        self._differing[name] += differing

    def checks(self) -> Iterator[Check]:
        """One check per name, in the order of their first comparison."""
        for name, compared in self._compared.items():
            differing = self._differing[name]
            told = ", as the format cannot help" if differing and name in self._lossy else ""
            yield Check(name, differing == 0 or name in self._lossy, f"{differing} of {compared} differ{told}")
