"""A sample store at a URL: the files of :mod:`diffumask_datasets.generation.store`, through fsspec.

An object appears whole or not at all on object stores; elsewhere the checksum tells a torn one.
"""

from __future__ import annotations

import logging

from diffumask_datasets.dataset.storage import Location, filesystem, remote_errors
from diffumask_datasets.errors import StoreError
from diffumask_datasets.generation.store import (
    FOLDER_SIZE,
    SUFFIX,
    SampleStore,
    Store,
    default_store_root,
    sealed,
    unsealed,
)

__all__ = ["RemoteStore", "open_store"]

logger = logging.getLogger(__name__)


def open_store(root: Location | None, digest: str) -> Store:
    """The store of one recipe in a folder or at a URL; None is :func:`default_store_root`.

    Raises:
        MissingDependencyError: the package that speaks the URL's protocol is not installed.
    """
    root = default_store_root() if root is None else root
    return RemoteStore(root, digest) if isinstance(root, str) else SampleStore(root, digest)


class RemoteStore:
    """The entries of one recipe at a URL. Safe to use from several processes and threads at once."""

    def __init__(self, root: str, digest: str) -> None:
        self._url = f"{root}/{digest}"
        self._digest = digest
        self._files, self._folder = filesystem(self._url)
        self._is_writable = False

    def check_writable(self) -> None:
        """Raises StoreError where nothing can be written; tries once only."""
        if not self._is_writable:
            self._write(f"{self._folder}/writable", b"")
            self._is_writable = True

    def get(self, index: int) -> bytes | None:
        """The payload of sample ``index``, or None where it has to be generated (again)."""
        path = self._path(index)
        try:
            entry = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        except remote_errors() as error:
            raise StoreError(
                f"cannot read {path} at {self._url}: {error}; check the connection and your rights"
            ) from error
        payload = unsealed(entry, digest=self._digest, index=index)
        if payload is None:
            logger.warning("store entry %s is damaged or another sample's; it will be generated again", path)
        return payload

    def put(self, index: int, payload: bytes) -> None:
        """Stores the payload of sample ``index``."""
        self._write(self._path(index), sealed(payload, digest=self._digest, index=index))

    def present(self, start: int, stop: int) -> set[int]:
        """The indices ``start`` ≤ k < ``stop`` that have an entry: one listing for each thousand."""
        found: set[int] = set()
        for number in range(start // FOLDER_SIZE, -(-stop // FOLDER_SIZE)):
            folder = f"{self._folder}/{number:05d}"
            try:
                self._files.invalidate_cache(folder)
                names = self._files.ls(folder, detail=False)
            except FileNotFoundError:
                continue
            except remote_errors() as error:
                raise StoreError(f"cannot list {self._url}: {error}; check the connection and your rights") from error
            found.update(int(name[-len(SUFFIX) - 8 : -len(SUFFIX)]) for name in names if name.endswith(SUFFIX))
        return {index for index in found if start <= index < stop}

    def _write(self, path: str, data: bytes) -> None:
        try:
            self._files.pipe_file(path, data)
        except remote_errors() as error:
            raise StoreError(
                f"cannot write the sample store at {self._url}: {error}; check the address, the connection and your rights "
                "(finished samples are kept)"
            ) from error

    def _path(self, index: int) -> str:
        return f"{self._folder}/{index // FOLDER_SIZE:05d}/{index:08d}{SUFFIX}"
