"""Tables that say which colour of a mask is which class: ``labelmap.txt``, ``class_dict.csv``, ``label_colors.txt``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.mask_decoding import Colour, ColourTable
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.text_lists import read_lines
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE
from diffumask_datasets.segmentation.labelled import plain_name

__all__ = ["COLOUR_FILES", "VOC_COLOURS", "numbered", "read_colours", "with_values"]

COLOUR_FILES = ("labelmap.txt", "class_dict.csv", "label_colors.txt")

VOC_COLOURS = ColourTable(
    {(red, green, blue): value for value, (red, green, blue) in enumerate(class_colours().tolist())}, indexed=True
)
"""VOC's colour map: masks of a VOC tree hold its indices, or its colours."""

_IGNORED = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled"})

_NUMBERS = r"(?P<red>\d+)\s*[,;\s]\s*(?P<green>\d+)\s*[,;\s]\s*(?P<blue>\d+)"
_LINES = (
    re.compile(rf"(?P<name>[^:]+):\s*{_NUMBERS}\s*(:.*)?"),
    re.compile(rf"(?P<name>[^,;]*[^\d,;\s][^,;]*?)\s*[,;\s]\s*{_NUMBERS}"),
    re.compile(rf"{_NUMBERS}\s*[,;\s]\s*(?P<name>.+)"),
)
"""``name:r,g,b:parts:actions``, ``name,r,g,b`` and ``r g b name``."""


def read_colours(path: Path) -> dict[str, Colour]:
    """Class name → colour, in the order of the file. A heading and lines that begin with ``#`` are passed over.

    Raises:
        DataError: a line that is none, or a name or colour that comes twice.
    """
    found: dict[str, Colour] = {}
    for number, line in enumerate(read_lines(path)):
        match = next(filter(None, (form.fullmatch(line) for form in _LINES)), None)
        if line.startswith("#") or (match is None and number == 0 and path.suffix == ".csv"):
            continue
        colour = (int(match["red"]), int(match["green"]), int(match["blue"])) if match else (256, 0, 0)
        if match is None or max(colour) > 255:
            raise DataError(f"{path}: expected lines such as 'car:128,0,0::' or 'car,128,0,0', got {line!r}")
        name = match["name"].strip()
        if name in found or colour in found.values():
            raise DataError(f"{path}: {line!r} repeats a name or a colour; each stands for one class")
        found[name] = colour
    if not found:
        raise DataError(f"{path} holds no colours; expected lines such as 'car:128,0,0::'")
    return found


def numbered(colours: Mapping[str, Colour]) -> tuple[dict[int, tuple[str, ...]], ColourTable]:
    """Mask values of a table without numbers: its classes count from 1 in order; background is 0, void 255.

    Gives the names of the values, without these two, and the table.
    """
    special = {plain_name(name): IGNORE for name in _IGNORED} | {BACKGROUND_NAME: BACKGROUND}
    classes = [name for name in colours if plain_name(name) not in special]
    values = {name: number for number, name in enumerate(classes, start=1)}
    table = {colour: values.get(name, special.get(plain_name(name), 0)) for name, colour in colours.items()}
    return {number: (name,) for name, number in values.items()}, ColourTable(table)


def with_values(colours: Mapping[str, Colour], names: Mapping[int, tuple[str, ...]], *, where: Path) -> ColourTable:
    """Joins colours and mask values of classes; grey masks hold these values themselves.

    Args:
        colours: Class → colour.
        names: Mask value → names of its class.
        where: The table's file, for messages.

    Returns:
        The table.

    Raises:
        DataError: A class of the table that ``names`` does not have.
    """
    values = {plain_name(name): value for value, several in names.items() for name in several}
    values |= {BACKGROUND_NAME: BACKGROUND} | dict.fromkeys(map(plain_name, _IGNORED - values.keys()), IGNORE)
    strange = [name for name in colours if plain_name(name) not in values]
    if strange:
        raise DataError(f"{where} gives {strange[0]!r} a colour, but id2label.json does not name it; add it there")
    return ColourTable({colour: values[plain_name(name)] for name, colour in colours.items()}, indexed=True)
