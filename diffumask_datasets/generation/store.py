"""The sample store: finished samples in a folder or at a URL, looked up before anything is generated.

One file a sample, ``<root>/<recipe digest>/<index // 1000>/<index>.sample``: a SHA-256, then the payload. The hash covers
the digest, the index and the payload, so an entry that is damaged, or lies under another sample's name, is noticed. The
recipe digest addresses the content, so an entry never goes stale. An entry appears whole or not at all, so a killed process
leaves whole entries only, and two processes that write the same one write the same bytes. A store that is only read need not
be writable.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diffumask_datasets.dataset.storage import Location, filesystem, parse_location, remote_errors
from diffumask_datasets.errors import StoreError

__all__ = ["FOLDER_SIZE", "SUFFIX", "SampleStore", "cache_folder", "default_store_root"]

logger = logging.getLogger(__name__)

CHECKSUM_BYTES = 32
FOLDER_SIZE = 1000
"""Entries per folder: listing stays fast and file systems stay content."""

SUFFIX = ".sample"

STALE_SECONDS = 3600
"""A draft older than this was left by a process that was killed."""


def default_store_root() -> Location:
    """``$DIFFUMASK_CACHE``, else ``diffumask`` in the Hugging Face home."""
    own = os.environ.get("DIFFUMASK_CACHE")
    return parse_location(own) if own else _home()


def cache_folder() -> Path:
    """Where small things that belong to this machine are remembered: beside the samples, unless those are at a URL."""
    root = default_store_root()
    return root if isinstance(root, Path) else _home()


def _home() -> Path:
    # Asked of the environment and not of huggingface_hub: its constant is frozen at import.
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "diffumask"


class SampleStore:
    """The entries of one recipe, safe to use from several processes and threads; nothing is made until it is written.

    ``root`` is a folder or a URL, None for :func:`default_store_root`.

    Raises:
        MissingDependencyError: the package that speaks the protocol of a URL is not installed.
        StoreError: from every method, where the store cannot be reached, read or written.
    """

    def __init__(self, root: Location | None, digest: str) -> None:
        root = default_store_root() if root is None else root
        self._digest = digest
        self._files = _Bucket(f"{root}/{digest}") if isinstance(root, str) else _Folder(root / digest)
        self._is_writable = False

    def check_writable(self) -> None:
        """Checks that :meth:`put` can write. Called before a sample is made; looks once only."""
        if not self._is_writable:
            with _store_errors(f"write the sample store at {self._files.where}", self._files.write_remedy):
                self._files.check_writable()
            self._is_writable = True

    def get(self, index: int) -> bytes | None:
        """The payload of sample ``index``, or None where it has to be generated (again)."""
        name = _name(index)
        with _store_errors(f"read {self._files.where}/{name}", self._files.read_remedy):
            entry = self._files.read(name)
        if entry is None:
            return None
        checksum, payload = entry[:CHECKSUM_BYTES], entry[CHECKSUM_BYTES:]
        if self._checksum(index, payload) == checksum:
            return payload
        where = f"{self._files.where}/{name}"
        logger.warning("store entry %s is damaged or another sample's; it will be generated again", where)
        return None

    def put(self, index: int, payload: bytes) -> None:
        """Stores the payload of sample ``index``; after a crash at any instant it is there whole or not at all."""
        name = _name(index)
        with _store_errors(f"write the sample store at {self._files.where}/{name}", self._files.write_remedy):
            self._files.write(name, self._checksum(index, payload) + payload)

    def present(self, start: int, stop: int) -> set[int]:
        """The indices ``start`` ≤ k < ``stop`` that have an entry, by the names of files alone: nothing is read."""
        found: set[int] = set()
        for number in range(start // FOLDER_SIZE, -(-stop // FOLDER_SIZE)):
            with _store_errors(f"list {self._files.where}/{number:05d}", self._files.read_remedy):
                names = self._files.names(f"{number:05d}")
            found.update(int(name.removesuffix(SUFFIX)) for name in names if name.endswith(SUFFIX))
        return {index for index in found if start <= index < stop}

    def _checksum(self, index: int, payload: bytes) -> bytes:
        return hashlib.sha256(f"{self._digest}-{index:08d}\0".encode() + payload).digest()


class _Folder:
    """Files of a folder. One is written under another name and renamed in one step."""

    absent = (FileNotFoundError, NotADirectoryError)
    """There is no entry yet. Where the store cannot be a folder, the first write says so."""

    read_remedy = "check its permissions and the disk, or delete it"
    write_remedy = "free space or set DIFFUMASK_CACHE to a folder you can write (finished samples are kept)"

    def __init__(self, folder: Path) -> None:
        self.where = folder
        self._drafts = folder / "drafts"

    def check_writable(self) -> None:
        """Makes the folder and clears it of what killed processes left."""
        self._drafts.mkdir(parents=True, exist_ok=True)
        for draft in self._drafts.iterdir():
            # Another process may finish its draft, or sweep this one, while we look.
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > STALE_SECONDS:
                    draft.unlink()
        if not os.access(self._drafts, os.W_OK):
            raise PermissionError("no permission to write")

    def read(self, name: str) -> bytes | None:
        with suppress(*self.absent):
            return (self.where / name).read_bytes()
        return None

    def write(self, name: str, data: bytes) -> None:
        path, draft = self.where / name, self._drafts / uuid.uuid4().hex
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._drafts.mkdir(exist_ok=True)
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            # A disk that has become read-only refuses this too.
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    def names(self, folder: str) -> list[str]:
        with suppress(*self.absent):
            return os.listdir(self.where / folder)
        return []


class _Bucket:
    """Files at a URL. Object stores write them whole or not at all; elsewhere the checksum tells a torn one."""

    read_remedy = "check the connection and your rights"
    write_remedy = "check the address, the connection and your rights (finished samples are kept)"

    def __init__(self, url: str) -> None:
        self.where = url
        self._files, self._folder = filesystem(url)

    def check_writable(self) -> None:
        self.write("writable", b"")

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return bytes(self._files.cat_file(f"{self._folder}/{name}"))
        return None

    def write(self, name: str, data: bytes) -> None:
        self._files.pipe_file(f"{self._folder}/{name}", data)

    def names(self, folder: str) -> list[str]:
        self._files.invalidate_cache(f"{self._folder}/{folder}")
        with suppress(FileNotFoundError):
            return [path.rpartition("/")[2] for path in self._files.ls(f"{self._folder}/{folder}", detail=False)]
        return []


def _name(index: int) -> str:
    return f"{index // FOLDER_SIZE:05d}/{index:08d}{SUFFIX}"


@contextmanager
def _store_errors(doing: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except remote_errors() as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot {doing}: {reason}; {remedy}") from error
