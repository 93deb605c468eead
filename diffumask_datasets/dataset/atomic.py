"""Output that is either the old one or whole, and of one run: made beside its place and moved there in one step."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from diffumask_datasets.errors import DiffuMaskError, ExportError

__all__ = ["only_one", "whole_file", "whole_folder"]


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """An empty draft folder that takes the place of ``output`` once the block ends well, and is gone where it does not.

    Raises:
        ExportError: another run is writing ``output``, or the draft cannot be written or moved.
    """
    place = output.resolve()  # a link stays one
    work = place.with_name(f".{place.name}.unfinished")
    try:
        with only_one(work, output):
            for left in [path for path in work.iterdir() if path.is_dir()]:
                shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
            # A name of its own: where a file system has no locks, two runs still never write into one draft.
            draft = work / uuid.uuid4().hex
            draft.mkdir()
            try:
                yield draft
                _put(draft, place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except DiffuMaskError:
        raise  # some are OSErrors too: what the rows come from could not be read
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error


@contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """A draft of a file that takes the place of ``output`` once the block ends well, and is gone where it does not.

    Raises:
        ExportError: it cannot be written or moved.
    """
    draft = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(output)
    except DiffuMaskError:
        raise
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        # What cannot be written can often not be removed either.
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def only_one(work: Path, output: Path) -> Iterator[None]:
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


def _put(draft: Path, place: Path) -> None:
    replaced = draft.with_name(f"{draft.name}.replaced")
    if not place.exists():
        draft.rename(place)
        return
    place.rename(replaced)
    try:
        draft.rename(place)
    except OSError:
        replaced.rename(place)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
