"""Our class ids → the ids and names of a format: its official table where it has all classes, else ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ExportError, suggestion
from diffumask_datasets.recipes.text import word_key
from diffumask_datasets.sample import IGNORE

__all__ = [
    "FormatClass",
    "Ids",
    "check_choice",
    "check_year",
    "checked_names",
    "format_classes",
    "lookup",
    "normal",
    "same_names",
]

Ids = Literal["auto", "official", "own"]
"""``official`` demands the format's table, ``own`` counts our classes from 1, ``auto`` takes the table where it fits."""


@dataclass(frozen=True)
class FormatClass:
    """A class as a format calls it."""

    number: int
    name: str


def normal(name: str) -> str:
    """``Potted plant``, ``potted-plant`` and ``pottedplant`` are one name."""
    return word_key(name).replace(" ", "")


def check_choice(option: str, value: object, legal: Sequence[object]) -> None:
    """Checks an option of a format.

    Args:
        option: Its name.
        value: Its value.
        legal: The legal values.

    Raises:
        ExportError: The value is none of them.
    """
    if value not in legal:
        raise ExportError(f"{option}: expected one of {', '.join(map(str, legal))}, got {value!r}")


def checked_names(option: str, value: object) -> tuple[str, ...]:
    """One name or several as a tuple.

    Raises:
        ExportError: it is neither.
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ExportError(f"{option}: expected a name or a list of names, got {value!r}")
    return tuple(names)


def check_year(year: object) -> None:
    """Raises ExportError unless the year that ends folder names is a number."""
    if type(year) is not int or not 0 <= year <= 9999:
        raise ExportError(f"year: expected a number from 0 to 9999, got {year!r}")


def format_classes(
    classes: Sequence[str], *, table: Mapping[str, int], ids: Ids, owner: str
) -> tuple[FormatClass, ...]:
    """Names and numbers classes as a format does.

    Two classes never share an id: where both have the same official name, ``auto`` numbers all classes from 1.

    Args:
        classes: Our class names.
        table: The format's official name → id.
        ids: Whose ids are taken.
        owner: The format, for messages.

    Returns:
        What the format calls each class.

    Raises:
        ExportError: ``ids`` is no legal value, or ``official`` and a class is not in the table or two are the same there.
    """
    check_choice("ids", ids, ("auto", "official", "own"))
    official = {normal(name): FormatClass(number, name) for name, number in table.items()}
    unknown = [name for name in classes if normal(name) not in official]
    same = same_names(classes)
    if ids == "official" and unknown:
        raise ExportError(
            f"{unknown[0]!r} is none of the {len(table)} classes of {owner}{suggestion(unknown[0], table)}; "
            "rename it, or use ids=own"
        )
    if ids == "official" and same:
        raise ExportError(f"{same[0]!r} and {same[1]!r} are one class of {owner}; rename one, or use ids=own")
    if ids == "own" or unknown or same:
        return tuple(FormatClass(number, name) for number, name in enumerate(classes, start=1))
    return tuple(official[normal(name)] for name in classes)


def same_names(classes: Iterable[str]) -> tuple[str, str] | None:
    """The first two classes that official tables cannot distinguish, such as TV and tv."""
    first: dict[str, str] = {}
    for name in classes:
        if normal(name) in first:
            return first[normal(name)], name
        first[normal(name)] = name
    return None


def lookup(numbers: Sequence[int], *, background: int = 0) -> npt.NDArray[np.uint8]:
    """Table (256,) from our mask values to a format's: ``background``, the ``numbers`` of the class ids, 255."""
    table = np.full(256, background, dtype=np.uint8)
    table[1 : len(numbers) + 1] = numbers
    table[IGNORE] = IGNORE
    return table
