"""WebDataset: tar files of samples, each an image, a mask and JSON under one key."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, ExportSample, Part, Record
from diffumask_datasets.exporters.description import described, json_text
from diffumask_datasets.exporters.pictures import image_file, plain_png
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.recipes.json_reader import parse_json
from diffumask_datasets.sample import id2label

__all__ = ["WebDatasetExporter", "WebDatasetReader", "WebDatasetWriter"]

END_OF_TAR = bytes(1024)
LABELS = "id2label.json"


@dataclass(frozen=True)
class WebDatasetExporter:
    """``<split>-<number>.tar`` of ``samples_per_shard`` samples; members ``<id>.png``, ``<id>.label.png``, ``<id>.json``."""

    samples_per_shard: int = 1000

    layout: ClassVar[int] = 2

    def open(self, contents: Contents) -> WebDatasetWriter:
        """Raises ExportError for a shard of no size."""
        if type(self.samples_per_shard) is not int or self.samples_per_shard < 1:
            raise ExportError(f"samples_per_shard: expected a number from 1 up, got {self.samples_per_shard!r}")
        return WebDatasetWriter(contents.classes, self.samples_per_shard)

    def read(self, folder: Path, contents: Contents) -> WebDatasetReader:
        """Reads by tarfile, and by its order: a shard is a stream."""
        return WebDatasetReader(folder, contents)


@dataclass(frozen=True)
class WebDatasetWriter:
    """An export in progress."""

    classes: tuple[str, ...]
    samples_per_shard: int

    def write(self, sample: ExportSample) -> Part:
        """The members of a sample, for the end of its shard."""
        if "." in sample.sample_id:
            raise ExportError(
                f"sample_id {sample.sample_id!r}: a key ends at its first '.', so it must have none; rename it"
            )
        suffix, image = image_file(sample)
        members = {suffix: image, ".label.png": plain_png(sample.label), ".json": json_text(described(sample)).encode()}
        shard = f"{sample.split}-{sample.position // self.samples_per_shard:06d}.tar"
        data = b"".join(_member(f"{sample.sample_id}{end}", content) for end, content in members.items())
        return Part(appended={shard: data}, record={"shard": shard})

    def close(self, records: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, bytes]]:
        """The end of each shard, and the names of class ids."""
        for split_records in records.values():
            last = None
            for record in split_records:
                if record["shard"] != last:
                    last = record["shard"]
                    yield last, END_OF_TAR
        yield LABELS, (json.dumps(id2label(self.classes), indent=2, ensure_ascii=False) + "\n").encode()


class WebDatasetReader:
    """Finished shards. Samples must be compared in the order in which they were written."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self._folder, self._contents = folder, contents
        self._streams = {split: self._samples(split) for split in contents.splits}

    def checks(self) -> Iterator[Check]:
        """Each tar can be read to its end."""
        for path in sorted(self._folder.glob("*.tar")):
            with tarfile.open(path) as tar:
                names = tar.getnames()
            yield Check(path.name, len(names) % 3 == 0, f"{len(names) // 3} samples")

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """Image bytes, mask pixels, and every other column."""
        key, members = next(self._streams[sample.split], ("", {}))
        tally.add("keys", differing=int(key != sample.sample_id), compared=1)
        suffix, image = image_file(sample)
        tally.add("images", differing=int(members.get(suffix[1:]) != image), compared=1)
        if {"label.png", "json"} <= members.keys():
            found = np.asarray(open_image(members["label.png"]))
            differing = sample.label.size if found.shape != sample.label.shape else int((found != sample.label).sum())
            tally.add("mask pixels", differing=differing, compared=sample.label.size)
            there = parse_json(members["json"], where=f"{key}.json", error=ExportError)
            wanted = json.loads(json_text(described(sample)))
            tally.add(
                "columns", differing=sum(there.get(name) != wanted[name] for name in wanted), compared=len(wanted)
            )

    def _samples(self, split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
        for path in sorted(self._folder.glob(f"{split}-??????.tar")):
            with tarfile.open(path) as tar:
                key, members = "", dict[str, Any]()
                for member in tar:
                    stem, _, end = member.name.partition(".")
                    if stem != key and key:
                        yield key, members
                        members = {}
                    content = tar.extractfile(member)
                    key, members[end] = stem, content.read() if content else b""
                if key:
                    yield key, members


def _member(name: str, content: bytes) -> bytes:
    """A file as it stands in a tar, without a time or an owner."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
