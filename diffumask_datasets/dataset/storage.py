"""Where files are kept: a folder of this machine, a URL that fsspec knows, e.g. ``s3://bucket/name``, or the Hub."""

from __future__ import annotations

import fnmatch
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import datasets
import fsspec

from diffumask_datasets.errors import DiffuMaskError, ExportError, HubError, MissingDependencyError, RecipeError
from diffumask_datasets.recipes.bounded_text import MOST_BYTES, read_bytes
from diffumask_datasets.recipes.trust import is_hub_id

__all__ = [
    "HUB",
    "Location",
    "access",
    "dataset_location",
    "fetched",
    "filesystem",
    "join",
    "list_files",
    "name_of",
    "open_binary",
    "parse_location",
    "read_file",
    "remote_errors",
    "same_location",
    "work_folder",
]

Location = Path | str
"""A folder or file is a Path, a URL a str."""

HUB = "hf://datasets/"
"""What the URL of a dataset on the Hub begins with."""

PACKAGES = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "gcs": ("gcsfs", "gs")}
"""Protocol → the package that speaks it, and the extra that brings that."""

CLIENT_ERRORS = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
"""What clients raise beside OSError."""

BLOCK_BYTES = 2**20
"""Bytes read at once from a URL. Parquet files are read column by column, so that much more would be wasted."""


def parse_location(given: str | Path) -> Location:
    """A URL as it is; anything else, ``file://`` included, as a path with ``~`` expanded."""
    text = str(given)
    if "://" in text and not text.startswith("file://"):
        return text.rstrip("/")
    return Path(text.removeprefix("file://")).expanduser()


def dataset_location(given: str | Path) -> Location:
    """Where a dataset is read from: like :func:`parse_location`, and ``owner/name`` that is no folder here is on the Hub."""
    return f"{HUB}{given}" if is_hub_id(given) else parse_location(given)


def join(location: Location, name: str) -> Location:
    """The file or folder ``name`` below a location."""
    return location / name if isinstance(location, Path) else f"{location}/{name}"


def name_of(location: Location) -> str:
    """The last part of a location."""
    return location.resolve().name if isinstance(location, Path) else location.rpartition("/")[2]


def same_location(one: Location | None, other: Location) -> bool:
    """Whether two locations are the same, links followed."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def work_folder(output: Location, name: str) -> Path:
    """A folder of this machine for what outlives an interruption of the run that writes ``output``.

    It lies hidden beside ``output``, or in the cache of ``datasets`` where that is a URL.
    """
    if isinstance(output, Path):
        return output.with_name(f".{output.name}.{name}")
    digest = hashlib.sha256(output.encode()).hexdigest()[:16]
    return Path(datasets.config.HF_DATASETS_CACHE) / "diffumask" / f"{digest}.{name}"


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
def access(location: Location, to: str = "read") -> Iterator[None]:
    """Within the block, errors of whatever serves ``location`` become one line that names it; our own errors stay.

    Raises:
        HubError: the Hub has no such dataset, refuses it, or cannot be reached.
        ExportError: any other location cannot be used.
    """
    if isinstance(location, str) and location.startswith(HUB):
        with _hub_access("/".join(location.removeprefix(HUB).split("/")[:2])):
            yield
        return
    try:
        yield
    except DiffuMaskError:
        raise  # some are OSErrors too
    except remote_errors() as error:
        if isinstance(location, Path):
            raise ExportError(f"cannot {to} {location}: {getattr(error, 'strerror', None) or error}") from error
        raise ExportError(f"cannot {to} {location}: {error}; check the address and your rights") from error


@contextmanager
def _hub_access(repo_id: str) -> Iterator[None]:
    from diffumask_datasets.recipes.hub_errors import readable_errors

    with readable_errors(repo_id, again=f"there is no folder {repo_id} here; if you mean one on the Hub, try again"):
        try:
            yield
        except FileNotFoundError as error:
            if _is_unknown(error):
                raise HubError(
                    f"there is no folder {repo_id} here, and the Hub has no {repo_id}, or does not show it to you: "
                    "check the name and the token, or log in with: hf auth login"
                ) from error
            raise ExportError(f"cannot read {repo_id}: {error}") from error


def _is_unknown(error: FileNotFoundError) -> bool:
    """Whether not the file alone is missing, but the whole dataset on the Hub."""
    from huggingface_hub.errors import RepositoryNotFoundError

    return isinstance(error.__cause__, RepositoryNotFoundError)


def list_files(folder: Location, pattern: str = "*") -> dict[Location, int]:
    """The files and folders in a folder whose name fits, in order, with their size in bytes; empty where it is not there.

    Raises:
        ExportError, HubError: the location cannot be reached or read.
    """
    with access(folder):
        if isinstance(folder, Path):
            return {path: path.stat().st_size for path in sorted(folder.glob(pattern))}
        files, path = filesystem(folder)
        files.invalidate_cache()
        try:
            entries = files.ls(path, detail=True)
        except FileNotFoundError as error:
            if _is_unknown(error):
                raise
            return {}
    sizes = {entry["name"].rstrip("/").rpartition("/")[2]: entry["size"] or 0 for entry in entries}
    return {join(folder, name): sizes[name] for name in sorted(sizes) if fnmatch.fnmatch(name, pattern)}


def open_binary(location: Location) -> AbstractContextManager[IO[bytes]]:
    """A file opened for reading, at any position.

    Raises:
        OSError: it cannot be opened; use it within :func:`access`.
    """
    if isinstance(location, Path):
        return location.open("rb")
    files, path = filesystem(location)
    return files.open(path, "rb", block_size=BLOCK_BYTES)  # type: ignore[no-any-return]


def read_file(
    location: Location, *, what: str, error: type[DiffuMaskError], most_bytes: int = MOST_BYTES
) -> bytes | None:
    """Reads a file.

    Args:
        location: The file.
        what: What the file is, for messages, e.g. ``"the recipe"``.
        error: The class of the error to raise.
        most_bytes: The largest size that is read.

    Returns:
        Its bytes; None where there is no such file.

    Raises:
        error: The file is too large or not a regular file.
        ExportError, HubError: The location cannot be reached.
    """
    if isinstance(location, Path):
        return read_bytes(location, what=what, error=error, most_bytes=most_bytes) if location.exists() else None
    with access(location):
        filesystem(location)[0].invalidate_cache()
        try:
            with open_binary(location) as file:
                data = file.read(most_bytes + 1)
        except FileNotFoundError as problem:
            if _is_unknown(problem):
                raise
            return None
    if len(data) > most_bytes:
        raise error(f"{what} {location} is too large: at most {most_bytes} bytes are read")
    return data


@contextmanager
def fetched(location: Location) -> Iterator[Path]:
    """A folder with the files of a location: itself, or a copy that is gone afterwards.

    Raises:
        ExportError, HubError: the location cannot be reached or read.
    """
    if isinstance(location, Path):
        yield location
        return
    files, path = filesystem(location)
    with tempfile.TemporaryDirectory(prefix="diffumask-") as copy:
        with access(location):
            files.get(f"{path}/", f"{copy}/", recursive=True)
        yield Path(copy)
