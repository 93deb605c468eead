"""The only reader of YAML: size, depth and number of values are bounded before anything is built.

Aliases count as what they stand for: a few of aliases of aliases can stand for more than memory holds. Tags and giant
numbers are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.recipes.bounded_text import MOST_BYTES, MOST_DEPTH, one_line, read_bounded

__all__ = ["parse_yaml", "read_yaml"]

MOST_VALUES = 300_000
"""Six seconds of work on a 2020s CPU core. 254 classes with a weight for each pair are 260,000 values."""

MOST_DIGITS = 64
"""Python takes quadratic time to read or print longer numbers, or refuses to."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C where there is one; the other is a hundred times slower."""


class _RefusedError(ValueError):
    """What is legal YAML and not read all the same; the message completes "the recipe x …"."""


class _Loader(_BASE):  # type: ignore[misc]
    """The safe loader without giant numbers."""


def _number(kind: str) -> Any:
    construct = getattr(_Loader, f"construct_yaml_{kind}")

    def bounded(loader: Any, node: Any) -> Any:
        if len(node.value) > MOST_DIGITS:
            raise _RefusedError(
                f"holds a number of {len(node.value)} characters ({node.value[:12]}…): quote it if it is text"
            )
        return construct(loader, node)

    return bounded


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number(_kind))


def read_yaml(path: Path, *, what: str, error: type[DiffuMaskError], most_bytes: int = MOST_BYTES) -> Any:
    """The value that a YAML file holds.

    Args:
        path: The file.
        what: What the file is, for messages, e.g. ``"the recipe"``.
        error: The class of the error to raise.
        most_bytes: The largest size that is read.

    Returns:
        The value that it holds.

    Raises:
        error: The file cannot be read, is not plain YAML, or is larger or deeper than is read.
    """
    text = read_bounded(path, what=what, error=error, most_bytes=most_bytes)
    return parse_yaml(text, where=f"{what} {path}", error=error)


def parse_yaml(text: str, *, where: str, error: type[DiffuMaskError]) -> Any:
    """Parses YAML.

    Args:
        text: The text.
        where: Begins the message of an error.
        error: The class of the error to raise.

    Returns:
        The value that it stands for.

    Raises:
        error: It is not plain YAML, or is larger or deeper than is read.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except _RefusedError as problem:
        raise error(f"{where} {problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as problem:
        raise error(f"{where} is not plain YAML: {one_line(problem)}") from problem


def _check_events(text: str) -> None:
    bounds = _Bounds()
    events: Iterator[Any] = yaml.parse(text, Loader=_BASE)
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            bounds.repeat(str(event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            bounds.leave()
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                raise _RefusedError(f"is not plain YAML: it has the tag {event.tag[:80]!r}; write the value without it")
            bounds.enter(event.anchor)
            if isinstance(event, yaml.ScalarEvent):
                bounds.leave()


class _Bounds:
    """Counts values and depth with every alias written out."""

    def __init__(self) -> None:
        self._values = 0
        self._open: list[tuple[str | None, int, int]] = []
        """(anchor, values before it, depth below it) of the values that have begun."""
        self._known: dict[str, tuple[int, int]] = {}
        """Anchor → (values, depth) of a value that has ended."""

    def enter(self, anchor: str | None) -> None:
        self._open.append((anchor, self._values, 0))
        self._add(1, 0)

    def leave(self) -> None:
        anchor, before, below = self._open.pop()
        if anchor is not None:
            self._known[anchor] = (self._values - before, below + 1)
        self._deepen(below + 1)

    def repeat(self, anchor: str) -> None:
        if anchor not in self._known:
            raise _RefusedError(f"has the alias *{anchor[:80]}, which names no value before it")
        values, depth = self._known[anchor]
        self._add(values, depth)
        self._deepen(depth)

    def _add(self, values: int, depth: int) -> None:
        self._values += values
        if len(self._open) + depth > MOST_DEPTH:
            raise _RefusedError(f"is nested more than {MOST_DEPTH} deep")
        if self._values > MOST_VALUES:
            raise _RefusedError(f"holds more than {MOST_VALUES} values")

    def _deepen(self, depth: int) -> None:
        if self._open:
            anchor, before, below = self._open[-1]
            self._open[-1] = (anchor, before, max(below, depth))
