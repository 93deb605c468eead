"""What a search leaves behind: a JSON file with the recipe fields it recommends, and a picture of all it tried."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from diffumask_datasets.dataset.atomic import atomic_file

__all__ = ["Cell", "table_picture", "write_report"]

_CELL_WH = (54, 18)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows of one trial: a text, a shade from 0.0 to 1.0, and whether it was chosen."""

    text: str
    shade: float
    is_chosen: bool


def table_picture(
    rows: Sequence[str], columns: Sequence[str], cell_at: Callable[[int, int], Cell | None], *, caption: str
) -> Image.Image:
    """A table of trials, the chosen ones framed.

    Args:
        rows: The name of each row.
        columns: The name of each column.
        cell_at: What stands in (row, column); None where nothing was tried.
        caption: A line below the table.

    Returns:
        The picture.
    """
    left = 8 + 7 * max(map(len, rows))
    width, height = _CELL_WH
    whole_width = max(left + width * len(columns), 7 * len(caption)) + 8
    picture = Image.new("RGB", (whole_width, height * (len(rows) + 2)), "white")
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(columns):
        draw.text((left + column * width + 14, 4), name, fill="black")
    for row, name in enumerate(rows, start=1):
        draw.text((4, row * height + 3), name, fill="black")
        for column in range(len(columns)):
            cell = cell_at(row - 1, column)
            if cell is not None:
                x, y = left + column * width, row * height
                frame = "black" if cell.is_chosen else None
                draw.rectangle((x, y, x + width - 2, y + height - 2), fill=_colour(cell.shade), outline=frame, width=2)
                draw.text((x + 13, y + 3), cell.text, fill="black")
    draw.text((4, (len(rows) + 1) * height + 3), caption, fill="black")
    return picture


def write_report(folder: Path, name: str, *, report: Mapping[str, Any], picture: Image.Image) -> None:
    """Writes ``NAME.json`` and ``NAME.png``.

    Args:
        folder: Where they go; made where it is missing.
        name: What was searched for.
        report: Plain JSON; its field ``recipe`` holds the recommended fields.
        picture: The table of all trials.

    Raises:
        ExportError: they cannot be written.
    """
    with atomic_file(folder / f"{name}.json") as draft:
        draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with atomic_file(folder / f"{name}.png") as draft:
        picture.save(draft, format="PNG")


def _colour(shade: float) -> tuple[int, int, int]:
    low, high = np.array((250, 245, 230)), np.array((60, 160, 120))
    red, green, blue = (int(value) for value in low + (high - low) * max(0.0, shade) ** 2)
    return red, green, blue
