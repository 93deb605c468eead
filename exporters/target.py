"""The folder that an export writes: begun, resumed or refused; complete once the manifest, its last file, is there.

out/coco/…                             the files of the format
out/coco/diffumask-export.json         the manifest
out/coco/.diffumask-export/            only while unfinished:
    begun.json                             what is being exported; another export into this folder is refused
    train.jsonl …                          the journal: one line per finished sample
    drafts/                                every file is written here and moved to its place in one step
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffumask_datasets.dataset.atomic import upload
from diffumask_datasets.dataset.storage import Location, join, list_files, read_file, work_folder
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.journal import WORK, append_at, unwritable
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["MANIFEST", "Target", "local_export", "put_file", "read_manifest"]

MANIFEST = "diffumask-export.json"
FLUSH_BYTES = 1 << 16
LOCK_SECONDS = 3

_FIELDS = {"export": dict, "samples": dict, "files": int, "content": str, "source": str}
_EXPORT_FIELDS = {"format": str, "options": dict, "classes": list, "splits": list, "source": dict}
"""Fields of a manifest, and of what it says was exported, with their types."""


def put_file(output: Path, path: str, data: bytes) -> None:
    """Writes one file of an export, whole or not at all.

    Args:
        output: The folder of the export.
        path: The file in it.
        data: Its content.

    Raises:
        ExportError: It cannot be written.
    """
    draft, place = output / WORK / "drafts" / str(os.getpid()), output / path
    try:
        draft.write_bytes(data)
        try:
            draft.replace(place)
        except FileNotFoundError:
            place.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(place)
    except OSError as error:
        # What cannot be written can often not be removed either.
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise unwritable(place, error) from error


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest, or None where the export is not complete.

    Raises:
        ExportError: it is damaged.
    """
    path = output / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = read_json(path, what="the manifest", error=ExportError)
    except ExportError as error:
        raise ExportError(f"{error}; remove the folder and export again") from error
    exported = manifest.get("export") if isinstance(manifest, dict) else None
    if not _has(manifest, _FIELDS) or not _has(exported, _EXPORT_FIELDS):
        raise ExportError(f"the manifest {path} is damaged; remove the folder and export again")
    return dict(manifest)


@contextmanager
def local_export(output: Location) -> Iterator[Path]:
    """The folder in which an export is made: ``output`` itself, or one that is uploaded once the block ends well.

    Raises:
        ExportError: the URL holds something else, or cannot be read or written.
    """
    if isinstance(output, Path):
        yield output
        return
    with _made_here(output) as folder:
        try:
            yield folder
        except ExportError as error:
            raise ExportError(str(error).replace(str(folder), output)) from error


@contextmanager
def _made_here(url: str) -> Iterator[Path]:
    manifest = read_file(join(url, MANIFEST), what="the manifest", error=ExportError)
    if manifest is not None:
        with tempfile.TemporaryDirectory(prefix="diffumask-") as copy:
            (Path(copy) / MANIFEST).write_bytes(manifest)
            yield Path(copy)
        return
    folder = work_folder(url, "export")  # outlives an interruption
    if not folder.exists() and list_files(url):
        raise ExportError(f"{url} is not empty and not an export of ours: choose another --output or remove it")
    yield folder
    upload(folder, url, last=MANIFEST)
    shutil.rmtree(folder)


def _has(value: Any, fields: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in fields.items())


class Target:
    """The folder of one export. Used as a context: leaving it lets go of the folder, finished or not.

    ``identity`` says what is exported; the folder of another export is refused. ``finished`` is the manifest where there
    is nothing left to do.

    Raises:
        ExportError: the folder holds something else, is in use by another process, or cannot be written.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any]) -> None:
        self.output = output
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._work = output / WORK
        self._new = not output.exists()
        self._lock = FileLock(self._work / "lock")
        try:
            self.finished = self._claim()
        except (OSError, ExportError) as error:
            self._lock.release()
            raise error if isinstance(error, ExportError) else unwritable(output, error) from error

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def gather(self, pieces: Iterator[tuple[str, bytes]], appended: Mapping[str, int]) -> set[str]:
        """Writes the files that come piece by piece and returns their paths.

        A piece of a file in ``appended`` (path → bytes it has from samples) becomes its end.

        Raises:
            ExportError: they cannot be written.
        """
        gathered = self._work / "gathered"
        buffers: dict[str, bytearray] = {}
        sizes = dict(appended)
        try:
            shutil.rmtree(gathered, ignore_errors=True)
            for path, piece in pieces:
                buffer = buffers.setdefault(path, bytearray())
                buffer += piece
                if len(buffer) >= FLUSH_BYTES:
                    self._flush(path, buffer, sizes, shared=path in appended)
            for path, buffer in buffers.items():
                self._flush(path, buffer, sizes, shared=path in appended)
            for path in buffers.keys() - appended.keys():
                (self.output / path).parent.mkdir(parents=True, exist_ok=True)
                (gathered / path).replace(self.output / path)
        except OSError as error:
            raise unwritable(self.output, error) from error
        return set(buffers)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Writes the manifest: from now on the export is complete."""
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        put_file(self.output, MANIFEST, text.encode())
        self._let_go()

    def discard(self) -> None:
        """Takes back a folder into which nothing was exported."""
        self._let_go()
        if self._new and not any(self.output.iterdir()):
            self.output.rmdir()

    def _let_go(self) -> None:
        # Before the lock is given up: nobody must lose a folder that it has taken over.
        shutil.rmtree(self._work, ignore_errors=True)
        self._lock.release()

    def _flush(self, path: str, buffer: bytearray, sizes: dict[str, int], *, shared: bool) -> None:
        root = self.output if shared else self._work / "gathered"
        append_at(root / path, sizes.get(path, 0), bytes(buffer))
        sizes[path] = sizes.get(path, 0) + len(buffer)
        buffer.clear()

    def _claim(self) -> dict[str, Any] | None:
        manifest = read_manifest(self.output)
        if manifest is not None:
            self._check_same(manifest["export"], "a finished export")
            shutil.rmtree(self._work, ignore_errors=True)
            return manifest
        self._check_free()
        return self._begin()

    def _check_free(self) -> None:
        begun = (self._work / "begun.json").is_file()
        if self.output.exists() and not begun and {path.name for path in self.output.iterdir()} - {WORK}:
            raise ExportError(
                f"{self.output} is not empty and not an export of ours: choose another --output or remove it"
            )

    def _begin(self) -> dict[str, Any] | None:
        (self._work / "drafts").mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise ExportError(f"another process is exporting into {self.output}; wait for it") from None
        if (self.output / MANIFEST).exists():  # finished by the process that was waited for
            return self._claim()
        for draft in (self._work / "drafts").iterdir():
            draft.unlink()
        begun = self._work / "begun.json"
        if begun.exists():
            self._check_same(read_json(begun, what="the mark", error=ExportError), "an unfinished export")
        else:
            put_file(self.output, f"{WORK}/{begun.name}", json.dumps(self.identity).encode())
        return None

    def _check_same(self, other: Mapping[str, Any], what: str) -> None:
        differing = [name for name in self.identity if not _has(other, {}) or other.get(name) != self.identity[name]]
        if differing:
            raise ExportError(
                f"{self.output} holds {what} that differs from this one in its {', '.join(differing)}: "
                "choose another --output or remove it"
            )
