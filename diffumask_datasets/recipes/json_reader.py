"""The only reader of JSON: size, depth and the length of numbers are bounded before anything is built."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.recipes.bounded_text import MOST_BYTES, MOST_DEPTH, MOST_LINES_BYTES, one_line, read_bounded

__all__ = ["parse_json", "parse_json_lines", "read_json", "read_json_lines"]

_TOKEN = re.compile(r'\\.|["\[\]{}]|\d{65,}', re.DOTALL)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class _RefusedError(ValueError):
    """What is legal JSON and not read all the same."""


def read_json(path: Path, *, what: str, error: type[DiffuMaskError], most_bytes: int = MOST_BYTES) -> Any:
    """The value that a JSON file holds.

    Args:
        path: The file.
        what: What the file is, for messages, e.g. ``"the manifest"``.
        error: The class of the error to raise.
        most_bytes: The largest size that is read.

    Returns:
        The value that it holds.

    Raises:
        error: The file cannot be read, is not JSON, or is larger or deeper than is read.
    """
    text = read_bounded(path, what=what, error=error, most_bytes=most_bytes)
    return parse_json(text, where=f"{what} {path}", error=error)


def read_json_lines(path: Path, *, what: str, error: type[DiffuMaskError]) -> Iterator[tuple[str, Any]]:
    """Reads a file of JSON lines; blank ones are passed over.

    Args:
        path: The file.
        what: What the file is, for messages.
        error: The class of the error to raise.

    Returns:
        ("FILE, line NUMBER", value) of each line.

    Raises:
        error: As :func:`read_json`.
    """
    text = read_bounded(path, what=what, error=error, most_bytes=MOST_LINES_BYTES)
    return parse_json_lines(text, where=str(path), error=error)


def parse_json_lines(text: str, *, where: str, error: type[DiffuMaskError]) -> Iterator[tuple[str, Any]]:
    """Parses JSON lines; blank ones are passed over.

    Args:
        text: The text.
        where: Where it comes from, for messages.
        error: The class of the error to raise.

    Returns:
        ("WHERE, line NUMBER", value) of each line.

    Raises:
        error: As :func:`parse_json`.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            line_of = f"{where}, line {number}"
            yield line_of, parse_json(line, where=line_of, error=error)


def parse_json(text: str | bytes, *, where: str, error: type[DiffuMaskError]) -> Any:
    """Parses JSON.

    Args:
        text: The text.
        where: Begins the message of an error.
        error: The class of the error to raise.

    Returns:
        The value that it stands for.

    Raises:
        error: It is not JSON, or is deeper than is read.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        _check_structure(text)
        value = json.loads(text)
        if _HALF_CHARACTER.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # raises for half of a surrogate pair
    except _RefusedError as problem:
        raise error(f"{where} {problem}") from None
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is not JSON: {one_line(problem)}") from problem
    return value


def _check_structure(text: str) -> None:
    depth, quoted = 0, False
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == '"':
            quoted = not quoted
        elif quoted or sign[0] == "\\":
            continue
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        else:
            raise _RefusedError(f"holds a number of {len(sign)} digits")
        if depth > MOST_DEPTH:
            raise _RefusedError(f"is nested more than {MOST_DEPTH} deep")
