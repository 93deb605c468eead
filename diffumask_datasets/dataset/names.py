"""Columns, class names and split names of a foreign dataset: what every command needs of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets

from diffumask_datasets.dataset.objects import OBJECT_FIELDS
from diffumask_datasets.dataset.schema import class_names
from diffumask_datasets.errors import ExportError, short_repr
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["check_columns", "ordered_splits", "read_class_names"]

FIRST_SPLITS = ("train", "validation", "test")

_SPLIT_NAME = re.compile(r"\w+(\.\w+)*")


def check_columns(features: Mapping[str, Any], needed: Sequence[str]) -> None:
    """Raises ExportError unless ``features`` have the columns ``needed`` and all fields of ``objects``."""
    missing = [name for name in needed if name not in features]
    if missing:
        raise ExportError(
            f"the dataset has no column {', '.join(missing)} (it has {short_repr(', '.join(features))}); give the config "
            "'default' of a diffumask dataset"
        )
    fields = features["objects"]
    missing = [name for name in OBJECT_FIELDS if not isinstance(fields, Mapping) or name not in fields]
    if missing:
        raise ExportError(f"the column objects has no {', '.join(missing)}; give the config 'default'")


def read_class_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes 1..K.

    Raises:
        ExportError: there are none, too many, or one that cannot stand in a text file.
    """
    try:
        names = class_names(features)
    except (AttributeError, LookupError, TypeError):
        raise ExportError("objects.category names no classes: make it a ClassLabel, background first") from None
    if not 1 <= len(names) <= MAX_CLASS_ID:
        raise ExportError(f"{len(names)} classes; a mask holds 1 to {MAX_CLASS_ID}")
    for name in names:
        if not name.strip() or not name.isprintable():
            raise ExportError(
                f"class {short_repr(name)} cannot stand in a text file: printable characters only; rename it"
            )
    return names


def ordered_splits(names: Iterable[str]) -> list[str]:
    """train, validation and test first.

    Raises:
        ExportError: a name that cannot be that of a folder.
    """
    for name in names:
        if not isinstance(name, str | datasets.Split) or not _SPLIT_NAME.fullmatch(str(name)):
            raise ExportError(
                f"split {short_repr(name)} cannot be a folder name: letters, digits and '_' only; rename it"
            )
    return sorted(names, key=lambda name: (FIRST_SPLITS.index(name) if name in FIRST_SPLITS else 3, name))
