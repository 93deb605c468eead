"""The sample store: finished samples on disk, asked before anything is generated.

One file a sample, ``<root>/<recipe digest>/<index // 1000>/<index>.sample``: a SHA-256, then the payload. The hash covers
the digest, the index and the payload, so an entry that is damaged, or lies under another sample's name, is noticed. The
recipe digest addresses the content, so an entry never goes stale. An entry is written under another name and renamed in one
step, so a killed process leaves whole entries only, and two processes that write the same one write the same bytes. A store
that is only read need not be writable.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from diffumask_datasets.dataset.storage import Location, parse_location
from diffumask_datasets.errors import StoreError

__all__ = ["FOLDER_SIZE", "SUFFIX", "SampleStore", "Store", "default_store_root", "sealed", "unsealed"]

logger = logging.getLogger(__name__)

CHECKSUM_BYTES = 32
FOLDER_SIZE = 1000
"""Entries per folder: listing stays fast and file systems stay content."""

SUFFIX = ".sample"

STALE_SECONDS = 3600
"""A draft older than this was left by a process that was killed."""

_ABSENT = (FileNotFoundError, NotADirectoryError)
"""There is no entry yet. Where the store cannot be a folder, the first write says so."""


def default_store_root() -> Location:
    """``$DIFFUMASK_CACHE``, else ``diffumask`` in the Hugging Face home."""
    own = os.environ.get("DIFFUMASK_CACHE")
    if own:
        return parse_location(own)
    # Asked of the environment and not of huggingface_hub: its constant is frozen at import.
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "diffumask"


class Store(Protocol):
    """Finished samples by index."""

    def get(self, index: int) -> bytes | None:
        """The payload, or None where the sample has to be generated (again)."""

    def put(self, index: int, payload: bytes) -> None:
        """Stores a payload, whole or not at all."""

    def check_writable(self) -> None:
        """Raises StoreError where :meth:`put` could not write. Asked before a sample is made; looks once only."""

    def present(self, start: int, stop: int) -> set[int]:
        """The indices of the range that have an entry."""


def sealed(payload: bytes, *, digest: str, index: int) -> bytes:
    """The entry of sample ``index`` of the recipe ``digest``."""
    return _checksum(payload, digest, index) + payload


def unsealed(entry: bytes, *, digest: str, index: int) -> bytes | None:
    """The payload of an entry, None where it is damaged or another sample's."""
    checksum, payload = entry[:CHECKSUM_BYTES], entry[CHECKSUM_BYTES:]
    return payload if _checksum(payload, digest, index) == checksum else None


class SampleStore:
    """The entries of one recipe, safe to use from several processes and threads; nothing is made until it is written."""

    def __init__(self, root: Path, digest: str) -> None:
        self.folder = root / digest
        self._digest = digest
        self._drafts = self.folder / "drafts"
        self._is_writable = False

    def check_writable(self) -> None:
        """Makes the folder and clears it of what killed processes left, when first called.

        Raises:
            StoreError: the folder cannot be made or written.
        """
        if self._is_writable:
            return
        try:
            self._drafts.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        if not os.access(self._drafts, os.W_OK):
            raise _unwritable(self.folder, PermissionError("no permission to write"))
        self._is_writable = True

    def get(self, index: int) -> bytes | None:
        """The payload of sample ``index``, or None where it has to be generated (again)."""
        path = self._path(index)
        try:
            entry = path.read_bytes()
        except _ABSENT:
            return None
        except OSError as error:
            raise StoreError(
                f"cannot read {path}: {error.strerror}; check its permissions and the disk, or delete the file"
            ) from error
        payload = unsealed(entry, digest=self._digest, index=index)
        if payload is None:
            logger.warning("store entry %s is damaged or another sample's; it will be generated again", path)
        return payload

    def put(self, index: int, payload: bytes) -> None:
        """Stores the payload of sample ``index``; after a crash at any instant it is there whole or not at all."""
        path = self._path(index)
        draft = self._drafts / uuid.uuid4().hex
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._drafts.mkdir(exist_ok=True)
            with draft.open("wb") as file:
                file.write(sealed(payload, digest=self._digest, index=index))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            # A disk that has become read-only refuses this too.
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise _unwritable(path, error) from error

    def present(self, start: int, stop: int) -> set[int]:
        """The indices ``start`` ≤ k < ``stop`` that have an entry, by the names of files alone: nothing is read.

        Raises:
            StoreError: a folder cannot be listed.
        """
        found: set[int] = set()
        for number in range(start // FOLDER_SIZE, -(-stop // FOLDER_SIZE)):
            folder = self.folder / f"{number:05d}"
            try:
                names = os.listdir(folder)
            except _ABSENT:
                continue
            except OSError as error:
                raise StoreError(f"cannot list {folder}: {error.strerror}; check the disk") from error
            found.update(int(name[:8]) for name in names if name.endswith(SUFFIX))
        return {index for index in found if start <= index < stop}

    def _sweep(self) -> None:
        for draft in self._drafts.iterdir():
            # Another process may finish its draft, or sweep this one, while we look.
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > STALE_SECONDS:
                    draft.unlink()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index // FOLDER_SIZE:05d}" / f"{index:08d}{SUFFIX}"


def _checksum(payload: bytes, digest: str, index: int) -> bytes:
    return hashlib.sha256(f"{digest}-{index:08d}\0".encode() + payload).digest()


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write the sample store at {path}: {error.strerror or error}; "
        "free space or set DIFFUMASK_CACHE to a folder you can write (finished samples are kept)"
    )
