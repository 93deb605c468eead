"""Writes folders and files that are either the old ones or whole, and of one run: made elsewhere, put in place at once."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from diffumask_datasets.dataset.storage import Location, access, filesystem
from diffumask_datasets.errors import ExportError

__all__ = ["atomic_file", "atomic_folder", "exclusive", "upload"]


@contextmanager
def atomic_folder(output: Location, *, last: str = "recipe.yaml") -> Iterator[Path]:
    """An empty draft folder that takes the place of ``output`` once the block ends well, and is gone where it does not.

    Args:
        output: A folder, which is replaced in one step; or a URL, where nothing moves in one step.
        last: The file by which a folder at a URL is known to be whole: it is removed first and uploaded last.

    Raises:
        ExportError: another run is writing ``output``, or it cannot be written.
    """
    if isinstance(output, Path):
        with _local_folder(output) as draft:
            yield draft
        return
    with tempfile.TemporaryDirectory(prefix="diffumask-") as folder:
        yield Path(folder)
        upload(Path(folder), output, last=last)


@contextmanager
def atomic_file(output: Location) -> Iterator[Path]:
    """A draft of a file that takes the place of ``output`` once the block ends well, and is gone where it does not.

    Raises:
        ExportError: it cannot be written.
    """
    if isinstance(output, Path):
        with _local_file(output) as draft:
            yield draft
        return
    with tempfile.TemporaryDirectory(prefix="diffumask-") as folder:
        yield Path(folder) / "draft"
        files, path = filesystem(output)
        with access(output, to="write"):
            files.put_file(str(Path(folder) / "draft"), path)


def upload(folder: Path, url: str, *, last: str) -> None:
    """Replaces what is at a URL by the files of a folder.

    Args:
        folder: The folder.
        url: Where its files go.
        last: The file that is removed first and uploaded last, so that what is there is whole where it is there.

    Raises:
        ExportError: It cannot be written.
    """
    files, path = filesystem(url)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    names.sort(key=lambda name: name == last)
    with access(url, to="write"):
        files.invalidate_cache()
        if files.exists(f"{path}/{last}"):
            files.rm(f"{path}/{last}")
        if files.exists(path):
            files.rm(path, recursive=True)
        for name in names:
            files.put_file(str(folder / name), f"{path}/{name}")


@contextmanager
def exclusive(work: Path, output: Location) -> Iterator[None]:
    """Holds the folder ``work``, made where it is missing, for the one run that makes ``output``.

    The lock ends with the process, however that ends. A folder that is empty afterwards is removed.

    Raises:
        ExportError: another run holds it.
        OSError: it cannot be made.
    """
    lock = FileLock(work / "lock")
    try:
        _take(lock, work)
    except Timeout:
        raise ExportError(f"another run is writing {output}: wait for it, or choose another --output") from None
    except NotImplementedError:
        pass  # a file system without locks
    try:
        yield
    finally:
        # In this order: whoever waits for the lock must not lose a folder that it has taken over.
        with suppress(OSError):
            (work / "lock").unlink()
        lock.release()
        with suppress(OSError):
            work.rmdir()


@contextmanager
def _local_folder(output: Path) -> Iterator[Path]:
    target = output.resolve()  # a link stays one
    work = target.with_name(f".{target.name}.unfinished")
    with access(output, to="write"), exclusive(work, output):
        for left in [path for path in work.iterdir() if path.is_dir()]:
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        # A name of its own: where a file system has no locks, two runs still never write into one draft.
        draft = work / uuid.uuid4().hex
        draft.mkdir()
        try:
            yield draft
            _put(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _local_file(output: Path) -> Iterator[Path]:
    draft = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    with access(output, to="write"):
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            draft.replace(output)
        finally:
            # What cannot be written can often not be removed either.
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _take(lock: FileLock, work: Path) -> None:
    while True:
        try:
            work.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if work.exists() and not work.is_dir():
                raise
            continue  # it was there when mkdir looked, and taken away before mkdir asked whether it is a folder
        with suppress(FileNotFoundError):
            lock.acquire(timeout=0)
            if (work / "lock").exists():
                return
        # Whoever held it has just taken the folder away.
        lock.release()


def _put(draft: Path, target: Path) -> None:
    replaced = draft.with_name(f"{draft.name}.replaced")
    if not target.exists():
        draft.rename(target)
        return
    target.rename(replaced)
    try:
        draft.rename(target)
    except OSError:
        replaced.rename(target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
