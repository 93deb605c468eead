"""Which samples are finished: one line each, written after their files, so that an export can go on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Part, Record
from diffumask_datasets.recipes.json_reader import parse_json

__all__ = ["WORK", "Journal", "Line", "append_at", "content_hash", "file_hash", "line_of", "unwritable"]

WORK = ".diffumask-export"
"""The folder, inside an unfinished export, of what only its making needs."""

CHUNK_BYTES = 1 << 20

Line = dict[str, Any]
"""One finished sample: ``id``, ``source`` (digest), ``files``, ``appended``, ``losses``, ``record``."""


def content_hash(path: str, data: bytes) -> int:
    """A number for a file; the sum over all files is the same in any order, so that nothing needs sorting."""
    sha = hashlib.sha256(path.encode() + b"\0")
    sha.update(data)
    return int.from_bytes(sha.digest(), "big")


def file_hash(output: Path, path: str) -> tuple[int, int]:
    """The :func:`content_hash` of a file on disk, and its size in bytes."""
    sha, size = hashlib.sha256(path.encode() + b"\0"), 0
    with (output / path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
            size += len(chunk)
    return int.from_bytes(sha.digest(), "big"), size


def unwritable(path: Path, error: OSError) -> ExportError:
    """The error for a file that cannot be written."""
    return ExportError(
        f"cannot write {path}: {error.strerror or error}; "
        "fix that and run the same export again: finished samples are kept"
    )


def line_of(sample_id: str, digest: str, part: Part) -> Line:
    """Makes the journal's line of a finished sample.

    Args:
        sample_id: The sample.
        digest: What identifies it in the dataset.
        part: What was written of it.

    Returns:
        The line.
    """
    return {
        "id": sample_id,
        "source": digest,
        "files": {path: [len(data), f"{content_hash(path, data):x}"] for path, data in part.files.items()},
        "appended": {path: len(data) for path, data in part.appended.items()},
        "losses": {path: list(loss) for path, loss in part.losses.items()},
        "record": part.record,
    }


def append_at(place: Path, offset: int, data: bytes) -> None:
    """Makes ``data`` the end of a file: what a crash left behind ``offset`` is cut off.

    Args:
        place: The file.
        offset: Where the data begin.
        data: The data.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("ab") as file:
        file.truncate(offset)
        file.write(data)


class Journal:
    """The finished samples of a split, in order. A line whose files are not whole ends it when it is opened.

    ``count`` is their number, ``last_id`` the id of the last one, ``appended`` the bytes they have in each shared file.
    """

    def __init__(self, output: Path, split: str) -> None:
        self._output = output
        self._path = output / WORK / f"{split}.jsonl"
        self.count = 0
        self.last_id: str | None = None
        self.appended: dict[str, int] = {}
        self._path.touch()
        self._trim()

    def lines(self) -> Iterator[Line]:
        """The journal from its first line on."""
        with self._path.open("rb") as file:
            for text in file:
                yield parse_json(text, where=f"the journal {self._path}", error=ExportError)

    def __iter__(self) -> Iterator[Record]:
        return (line["record"] for line in self.lines())

    def add(self, line: Line, appended: Mapping[str, bytes]) -> None:
        """Notes a finished sample, once what it appends to shared files is there.

        Raises:
            ExportError: it cannot be written.
        """
        try:
            for name, data in appended.items():
                append_at(self._output / name, self.appended.get(name, 0), data)
            with self._path.open("ab") as file:
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise unwritable(self._output, error) from error
        self._count(line)

    def _trim(self) -> None:
        end = 0
        with self._path.open("rb") as file:
            for text in file:
                line = _parsed(text)
                if line is None or not self._is_whole(line):
                    break
                end += len(text)
                self._count(line)
        os.truncate(self._path, end)

    def _count(self, line: Line) -> None:
        for name, size in line["appended"].items():
            self.appended[name] = self.appended.get(name, 0) + size
        self.count += 1
        self.last_id = line["id"]

    def _is_whole(self, line: Line) -> bool:
        whole = all(_size(self._output / name) == size for name, (size, _) in line["files"].items())
        return whole and all(
            _size(self._output / name) >= self.appended.get(name, 0) + size for name, size in line["appended"].items()
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _parsed(text: bytes) -> Line | None:
    try:
        line: Line = parse_json(text, where="a line of the journal", error=ExportError)
    except ExportError:
        return None
    return line if text.endswith(b"\n") else None
