"""What the mask values of a layout are called: its published table, or the one that lies in the dataset."""

from __future__ import annotations

import json
from pathlib import Path

from diffumask_datasets.categories import BACKGROUND_NAME
from diffumask_datasets.errors import DataError
from diffumask_datasets.preview import class_colours
from diffumask_datasets.sample import BACKGROUND, IGNORE
from diffumask_datasets.segmentation.layout_tables import (
    CITYSCAPES_IDS,
    CITYSCAPES_TABLE,
    VOC_CLASSES,
    VOC_TABLE,
)

__all__ = ["ade20k_classes", "cityscapes_classes", "names_from_id2label", "voc_classes"]

Names = dict[int, tuple[str, ...]]
"""Mask value → the names of the class, the shown one first."""


def voc_classes(root: Path) -> Names:
    """The classes of ``labelmap.txt``, where the tree has one, by the place of their colour in VOC's colour map.

    Raises:
        DataError: a line that is none, or a colour that no mask of VOC's colour map can have.
    """
    table = root / VOC_TABLE
    if not table.is_file():
        return {number: (name,) for number, name in enumerate(VOC_CLASSES, start=1)}
    values = {tuple(colour): value for value, colour in enumerate(class_colours().tolist())}
    classes: Names = {}
    for line in _lines(table):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        cells = rest.partition(":")[0].split(",")
        colour = tuple(int(cell) for cell in cells if cell.strip().isdecimal())
        value = values.get(colour)
        if value is None or not name.strip() or value in classes:
            raise DataError(
                f"{table}: expected lines of name:red,green,blue:: with colours of VOC's colour map, each once, got {line!r}"
            )
        if value not in (BACKGROUND, IGNORE):
            classes[value] = (name.strip(),)
    return classes


def cityscapes_classes(root: Path) -> Names:
    """The classes that count: those of ``labels.json``, where the export has a table of its own, else the official 19.

    Raises:
        DataError: it is no such table.
    """
    table = root / CITYSCAPES_TABLE
    if not table.is_file():
        return {number: (name,) for number, name in CITYSCAPES_IDS.items()}
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))
        return {int(row["number"]): (str(row["name"]),) for row in rows if not row["ignored"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table}: expected rows with number, name and ignored: {error!r}") from error


def ade20k_classes(table: Path) -> Names:
    """The classes of ``objectInfo150.txt``; synonyms stand between commas, and the whole cell is a name too.

    Raises:
        DataError: a line that is none.
    """
    classes: Names = {}
    for line in _lines(table)[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not cells[0].isdecimal():
            raise DataError(f"{table}: expected lines of id, ratio, train, val and names between tabs, got {line!r}")
        names = [name.strip() for name in cells[-1].split(",")]
        classes[int(cells[0])] = tuple(dict.fromkeys([*names, cells[-1]]))
    return classes


def names_from_id2label(path: Path) -> Names:
    """The class names of an ``id2label.json``, without the background.

    Raises:
        DataError: it is no such file.
    """
    try:
        labels = {int(number): str(name) for number, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f'{path}: expected {{"0": "background", "1": "car", …}}: {error}') from error
    return {number: (name,) for number, name in labels.items() if name.lower() != BACKGROUND_NAME}


def _lines(table: Path) -> list[str]:
    return table.read_text(encoding="utf-8").splitlines()
