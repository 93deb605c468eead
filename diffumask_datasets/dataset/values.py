"""Cells of foreign rows as the types that they should have, or an error that names the cell."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, TypeVar

from diffumask_datasets.errors import DataError, short_repr

__all__ = ["INT32", "INT64", "class_id", "finite", "list_of", "text", "whole"]

INT32, INT64 = 2**31 - 1, 2**63 - 1

_Value = TypeVar("_Value")


def text(value: object, name: str) -> str:
    """A string.

    Raises:
        DataError: anything else.
    """
    if not isinstance(value, str):
        raise DataError(f"{name}: expected text, got {short_repr(value)}")
    return value


def whole(value: object, name: str, *, low: int = 0, high: int = INT64) -> int:
    """Checks a whole number.

    Args:
        value: What should be one.
        name: What messages call it.
        low: The lowest legal number.
        high: The highest legal number.

    Returns:
        The number.

    Raises:
        DataError: Anything else.
    """
    number = _number(value, numbers.Integral)
    if number is None or not low <= number <= high:
        raise DataError(f"{name}: expected a whole number from {low} to {high}, got {short_repr(value)}")
    return int(number)


def class_id(value: object, class_count: int) -> int:
    """The id of a class, 1 to ``class_count``.

    Raises:
        DataError: anything else.
    """
    number = _number(value, numbers.Integral)
    if number is None or not 1 <= number <= class_count:
        raise DataError(f"class id {short_repr(value)} is not one of 1..{class_count}")
    return int(number)


def finite(value: object, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Checks a finite number.

    Args:
        value: What should be one.
        name: What messages call it.
        low: The lowest legal number.
        high: The highest legal number.

    Returns:
        The number.

    Raises:
        DataError: Anything else.
    """
    number = _number(value, numbers.Real)
    if number is None or not math.isfinite(number) or not low <= number <= high:
        between = f" from {low:g} to {high:g}" if math.isfinite(high) else ""
        raise DataError(f"{name}: expected a number{between}, got {short_repr(value)}")
    return float(number)


def list_of(value: object, name: str, read: Callable[[Any], _Value], *, length: int | None = None) -> list[_Value]:
    """Checks a list.

    Args:
        value: What should be one.
        name: What messages call it.
        read: Checks an item.
        length: The number of items; None for any.

    Returns:
        The items, as ``read`` gives them.

    Raises:
        DataError: No list, one of another length, or what ``read`` raises.
    """
    if not isinstance(value, list | tuple):
        raise DataError(f"{name}: expected a list, got {short_repr(value)}")
    if length is not None and len(value) != length:
        raise DataError(f"{name}: expected {length} items, got {len(value)}")
    return [read(item) for item in value]


def _number(value: Any, kind: type) -> Any:
    """``value`` where it is of ``kind``, numpy's numbers included; True and False are none."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
