"""Our classes → rows of the label table: by name, by a class map, or a table of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.errors import ExportError, suggestion
from diffumask_datasets.exporters.cityscapes.constants import IGNORED, LABELS, UNLABELED, LabelRow
from diffumask_datasets.exporters.classes import normal, same_names
from diffumask_datasets.sample import BACKGROUND_NAME, IGNORE, MAX_CLASS_ID

__all__ = ["LabelTable", "mapped_labels", "own_labels"]

FIRST_OWN_ID = 34
"""Own rows stand behind the official ones, whose ids keep their meaning."""

IGNORE_NAME = "ignore"


@dataclass(frozen=True)
class LabelTable:
    """The row of background, of class ids 1..K in order, and of unsure pixels (255)."""

    background: LabelRow
    classes: tuple[LabelRow, ...]
    ignore: LabelRow

    def row(self, value: int) -> LabelRow:
        """The row of a mask value."""
        if value == IGNORE:
            return self.ignore
        return self.classes[value - 1] if value else self.background

    def numbers(self, field: str) -> npt.NDArray[np.uint8]:
        """(256,) from mask values to ``number`` or ``train_id``."""
        values = [getattr(self.row(value), field) for value in range(len(self.classes) + 1)]
        table = np.full(256, getattr(self.ignore, field), dtype=np.uint8)
        table[: len(values)] = np.asarray(values) % 256
        return table

    def colours(self) -> npt.NDArray[np.uint8]:
        """(256, 4) RGBA of mask values."""
        table = np.full((256, 4), 255, dtype=np.uint8)
        table[:, :3] = self.ignore.colour
        for value in range(len(self.classes) + 1):
            table[value, :3] = self.row(value).colour
        return table


def mapped_labels(classes: Sequence[str], class_map: Mapping[str, str]) -> LabelTable:
    """Official rows; ``class_map`` is class name → label name, and may name ``background`` and ``ignore`` too.

    Raises:
        ExportError: a class without a label, a map that names what is not there, or two classes whose names are one label.
    """
    rows = {normal(row.name): row for row in LABELS if row.number >= 0}
    legal = [BACKGROUND_NAME, *classes, IGNORE_NAME]
    for name, label in class_map.items():
        if name not in legal:
            raise ExportError(f"class_map: {name!r} is no class of the dataset{suggestion(name, legal)}")
        if normal(str(label)) not in rows:
            known = [row.name for row in LABELS if row.number >= 0]
            raise ExportError(f"class_map: {label!r} is no label of Cityscapes{suggestion(str(label), known)}")
    wanted = {BACKGROUND_NAME: UNLABELED, IGNORE_NAME: IGNORED} | {name: name for name in classes} | dict(class_map)
    for name in classes:
        if normal(wanted[name]) not in rows:
            raise ExportError(
                f"Cityscapes has no label for the class {name!r}: give one, e.g. "
                f"class_map={{{name}: static}}, or use labels=own (then the official tools cannot score the dataset)"
            )
    same = same_names(name for name in classes if name not in class_map)
    if same:
        raise ExportError(
            f"{same[0]!r} and {same[1]!r} are one label of Cityscapes; to join them, name both in class_map"
        )
    background, *named, ignore = (rows[normal(wanted[name])] for name in legal)
    return LabelTable(background, tuple(named), ignore)


def own_labels(classes: Sequence[str]) -> LabelTable:
    """Rows behind the official ones, train ids 0..K-1, every class with instances.

    Raises:
        ExportError: more classes than an 8-bit picture has room for.
    """
    if len(classes) > MAX_CLASS_ID - FIRST_OWN_ID:
        raise ExportError(
            f"{len(classes)} classes; a label picture has room for {MAX_CLASS_ID - FIRST_OWN_ID} own ones"
        )
    background, ignore = (next(row for row in LABELS if row.name == name) for name in (UNLABELED, IGNORED))
    colours = class_colours()
    named = (
        LabelRow(name, FIRST_OWN_ID + index, index, name, 8 + index, True, False, _rgb(colours[index + 1]))
        for index, name in enumerate(classes)
    )
    return LabelTable(background, tuple(named), ignore)


def _rgb(colour: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in colour)
    return red, green, blue
