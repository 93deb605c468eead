"""What the mask values of a layout are called: its published table, or the one that lies in the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffumask_datasets.dataset.mask_decoding import ColourTable
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.json_reader import parse_json
from diffumask_datasets.recipes.text_lists import read_lines, read_text
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE
from diffumask_datasets.segmentation.colour_tables import COLOUR_FILES, VOC_COLOURS, numbered, read_colours, with_values
from diffumask_datasets.segmentation.layout_tables import (
    CITYSCAPES_IDS,
    CITYSCAPES_TABLE,
    VOC_CLASSES,
    VOC_TABLE,
)

__all__ = ["ade20k_classes", "cityscapes_classes", "folder_meaning", "names_from_id2label", "voc_meaning"]

Names = dict[int, tuple[str, ...]]
"""Mask value → the names of the class, the shown one first."""


def voc_meaning(root: Path) -> tuple[Names, ColourTable]:
    """The classes of a VOC tree and the colours of its masks: those of ``labelmap.txt`` where the tree has one.

    With the colours of VOC's colour map, masks hold the map's indices or its colours; with any others, colours alone.

    Raises:
        DataError: ``labelmap.txt`` is no such table.
    """
    table = root / VOC_TABLE
    if not table.is_file():
        return {number: (name,) for number, name in enumerate(VOC_CLASSES, start=1)}, VOC_COLOURS
    colours = read_colours(table)
    if not all(colour in VOC_COLOURS.values for colour in colours.values()):
        return numbered(colours)
    values = {VOC_COLOURS.values[colour]: (name,) for name, colour in colours.items()}
    return {value: names for value, names in values.items() if value not in (BACKGROUND, IGNORE)}, VOC_COLOURS


def folder_meaning(base: Path, root: Path) -> tuple[Names, ColourTable | None]:
    """The classes of a plain folder, of ``id2label.json`` or a table of colours, and the colours of its masks, if any.

    Both files may lie in ``base`` or in ``root``.

    Raises:
        DataError: there is neither file, or one is no such table.
    """
    labels, table = (_first_of(names, base, root) for names in (["id2label.json"], COLOUR_FILES))
    if table is None:
        if labels is None:
            files = ", ".join(COLOUR_FILES)
            raise DataError(f"no {base / 'id2label.json'}: the folder layout needs it, or a table of colours ({files})")
        return names_from_id2label(read_text(labels), where=str(labels)), None
    if labels is None:
        return numbered(read_colours(table))
    names = names_from_id2label(read_text(labels), where=str(labels))
    return names, with_values(read_colours(table), names, where=table)


def _first_of(names: Sequence[str], *folders: Path) -> Path | None:
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def cityscapes_classes(root: Path) -> Names:
    """The classes that count: those of ``labels.json``, where the export has a table of its own, else the official 19.

    Raises:
        DataError: it is no such table.
    """
    table = root / CITYSCAPES_TABLE
    if not table.is_file():
        return {number: (name,) for number, name in CITYSCAPES_IDS.items()}
    rows = parse_json(read_text(table), where=str(table), error=DataError)
    try:
        return {int(row["number"]): (str(row["name"]),) for row in rows if not row["ignored"]}
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{table}: expected rows with number, name and ignored: {error!r}") from error


def ade20k_classes(table: Path) -> Names:
    """The classes of ``objectInfo150.txt``; synonyms stand between commas, and the whole cell is a name too.

    Raises:
        DataError: a line that is none.
    """
    classes: Names = {}
    for line in read_lines(table)[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2 or not cells[0].isdecimal():
            raise DataError(f"{table}: expected lines of id, ratio, train, val and names between tabs, got {line!r}")
        names = [name.strip() for name in cells[-1].split(",")]
        classes[int(cells[0])] = tuple(dict.fromkeys([*names, cells[-1]]))
    return classes


def names_from_id2label(text: str, *, where: str) -> Names:
    """The class names in the text of an ``id2label.json``, without the background.

    Raises:
        DataError: it is no such text; the message begins with ``where``.
    """
    content = parse_json(text, where=where, error=DataError)
    try:
        labels = {int(number): str(name) for number, name in content.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f'{where}: expected {{"0": "background", "1": "car", …}}: {error}') from error
    return {number: (name,) for number, name in labels.items() if name.lower() != BACKGROUND_NAME}
