"""Where files are kept: a folder of this machine, or a URL that fsspec knows, e.g. ``s3://bucket/name``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from diffumask_datasets.errors import ExportError, MissingDependencyError, RecipeError

__all__ = ["Location", "fetched", "filesystem", "parse_location", "remote_errors", "whole_remote"]

Location = Path | str
"""A folder is a Path, a URL a str."""

PACKAGES = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "gcs": ("gcsfs", "gs")}
"""Protocol → the package that speaks it, and the extra that brings that."""

CLIENT_ERRORS = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
"""What clients raise beside OSError."""


def parse_location(given: str | Path) -> Location:
    """A URL as it is; anything else, ``file://`` included, as a path with ``~`` expanded."""
    text = str(given)
    if "://" in text and not text.startswith("file://"):
        return text.rstrip("/")
    return Path(text.removeprefix("file://")).expanduser()


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path within it.

    Raises:
        MissingDependencyError: the package that speaks the protocol is not installed.
        RecipeError: nothing speaks it.
    """
    protocol = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise MissingDependencyError.of(*PACKAGES.get(protocol, (protocol, protocol))) from error
    except ValueError as error:
        raise RecipeError(f"cannot use {url}: {error}; s3://, gs:// and hf:// are known, or give a folder") from error


def remote_errors() -> tuple[type[Exception], ...]:
    """What a file system raises where it cannot be reached or refuses."""
    loaded = [(sys.modules.get(module), name) for module, name in CLIENT_ERRORS]
    return (OSError, *(getattr(module, name) for module, name in loaded if module is not None))


@contextmanager
def whole_remote(url: str, *, last: str) -> Iterator[Path]:
    """An empty folder whose files take the place of what is at ``url`` once the block ends well.

    Nothing moves there in one step: the file ``last``, which says that the rest is whole, goes first and comes last.

    Raises:
        ExportError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="diffumask-") as folder:
        yield Path(folder)
        try:
            _replace(url, Path(folder), last)
        except remote_errors() as error:
            raise ExportError(f"cannot write {url}: {error}; check the address and your rights") from error


def _replace(url: str, folder: Path, last: str) -> None:
    files, path = filesystem(url)
    files.invalidate_cache()
    if files.exists(f"{path}/{last}"):
        files.rm(f"{path}/{last}")
    if files.exists(path):
        files.rm(path, recursive=True)
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.name != last)
    for name in [*names, last]:
        files.put_file(str(folder / name), f"{path}/{name}")


@contextmanager
def fetched(place: Location) -> Iterator[Path]:
    """A folder with the files of a place: itself, or a copy that is gone afterwards."""
    if isinstance(place, Path):
        yield place
        return
    files, path = filesystem(place)
    with tempfile.TemporaryDirectory(prefix="diffumask-") as copy:
        files.get(f"{path}/", f"{copy}/", recursive=True)
        yield Path(copy)
