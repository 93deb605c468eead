"""Reads text files that may come from strangers: regular files of a bounded size, in UTF-8."""

from __future__ import annotations

from pathlib import Path

from diffumask_datasets.errors import DiffuMaskError

__all__ = ["MOST_BYTES", "MOST_DEPTH", "MOST_LINES_BYTES", "one_line", "read_bounded", "read_bytes"]

MOST_BYTES = 8 * 2**20
"""Size of the largest file that is read at once. A recipe has a few kilobytes."""

MOST_LINES_BYTES = 256 * 2**20
"""Size of the largest file of lines: about a million decisions of a review."""

MOST_DEPTH = 32
"""Nesting of the deepest value that is read: five levels are common, and thousands exhaust the interpreter's stack."""

_SHOWN = 300


def read_bounded(path: Path, *, what: str, error: type[DiffuMaskError], most_bytes: int = MOST_BYTES) -> str:
    """Reads a UTF-8 text file, with or without a byte-order mark.

    Args:
        path: The file.
        what: What the file is, for messages, e.g. ``"the recipe"``.
        error: The class of the error to raise.
        most_bytes: The largest size that is read.

    Returns:
        The text.

    Raises:
        error: The file is missing, too large, not a regular file, or not UTF-8.
    """
    data = read_bytes(path, what=what, error=error, most_bytes=most_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"cannot read {what} {path}: it is not UTF-8 text (byte {problem.start})") from problem


def read_bytes(path: Path, *, what: str, error: type[DiffuMaskError], most_bytes: int = MOST_BYTES) -> bytes:
    """Reads a regular file.

    Args:
        path: The file.
        what: What the file is, for messages, e.g. ``"the recipe"``.
        error: The class of the error to raise.
        most_bytes: The largest size that is read.

    Returns:
        Its bytes.

    Raises:
        error: The file is missing, too large, or not a regular file.
    """
    try:
        # A pipe would never end and a device has no size.
        if path.exists() and not path.is_dir() and not path.is_file():
            raise error(f"cannot read {what} {path}: it is not a regular file")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as problem:
        if isinstance(problem, DiffuMaskError):
            raise
        raise error(f"cannot read {what} {path}: {getattr(problem, 'strerror', None) or problem}") from problem
    if len(data) > most_bytes:
        raise error(f"{what} {path} is too large: at most {most_bytes} bytes are read")
    return data


def one_line(problem: object) -> str:
    """The text of an error on one line, shortened where it is long."""
    text = " ".join(str(problem).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
