"""Reads text files that people write: lists of names, captions, tables of colours. Any encoding, any line ends."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path

from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.bounded_text import MOST_LINES_BYTES, read_bytes

__all__ = ["decode_text", "read_lines", "read_text"]

logger = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\r")
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")

_FEW = 0.05
"""Share of zero bytes that a text in UTF-16 may have where they are not due to Latin letters."""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without surrounding blanks; empty lines are left out, blanks inside stay.

    Raises:
        DataError: as :func:`read_text`.
    """
    return [line for line in map(str.strip, read_text(path).split("\n")) if line]


def read_text(path: Path) -> str:
    """The text of a file, as :func:`decode_text` has it.

    Raises:
        DataError: The file cannot be read or is not text.
    """
    return decode_text(read_bytes(path, what="the file", error=DataError, most_bytes=MOST_LINES_BYTES), where=str(path))


def decode_text(data: bytes, *, where: str) -> str:
    """Text in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark, or else in Windows-1252.

    Windows-1252 (nearly the same as Latin-1) cannot be told for sure, so there is a warning. Line ends become ``\\n``.

    Raises:
        DataError: It is not text; the message begins with ``where``.
    """
    try:
        text = _decoded(data, where)
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8") from error
    if _NO_TEXT.search(text):
        raise DataError(f"{where} is no text: it holds control characters; give a text file, in UTF-8")
    return _LINE_END.sub("\n", text)


def _decoded(data: bytes, where: str) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    try:
        return data.decode(_wide_encoding(data) or "utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    logger.warning("%s is not UTF-8 and was read as Windows-1252; save it as UTF-8 if letters are wrong", where)
    return text


def _wide_encoding(data: bytes) -> str | None:
    """UTF-16 without a mark, where zero bytes show it: they stand beside each Latin letter, blank and line end."""
    first, second = data[0::2].count(0), data[1::2].count(0)
    if len(data) % 2 or min(first, second) > _FEW * len(data) or max(first, second) <= _FEW * len(data):
        return None
    return "utf-16-le" if second > first else "utf-16-be"
