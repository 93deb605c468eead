"""``diffumask review --html``: one file with everything in it, for a browser without server, network or FiftyOne.

What is known of all samples comes first in the file and their pictures after it, so that a browser shows the first ones,
sorts and filters while it still reads the rest.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.decisions import DECISIONS_FILE
from diffumask_datasets.dataset.density import Density, ImageDensity, image_density
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.storage import Location, name_of, parse_location
from diffumask_datasets.errors import ExportError
from diffumask_datasets.review.pictures import pictures_of

__all__ = ["write_page"]

PLACE_OF_DATA = "/*REVIEW-DATA*/"
PLACE_OF_PICTURES = "<!--REVIEW-PICTURES-->"

PER_STEP = 60
"""Samples after which the page hears that their pictures have arrived: those of one page of it."""


def write_page(
    source: Any, output: str | Path, *, num_samples: int | None = None, title: str | None = None
) -> Location:
    """Writes the review page of a dataset. Decisions that lie beside the data are shown.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, a ``Dataset`` or a dict of splits.
        output: A file or URL that ends in ``.html``.
        num_samples: The most samples that are put on the page.
        title: The title of the page; default: the name of the dataset.

    Returns:
        Where the page is.

    Raises:
        ExportError: Not a dataset, or ``output`` cannot be written.
    """
    opened, target = open_dataset(source), parse_location(output)
    if not name_of(target).lower().endswith((".html", ".htm")):
        raise ExportError(f"{output} is no page: give a file that ends in .html")
    with atomic_file(target) as draft, tempfile.TemporaryFile("w+", encoding="utf-8", dir=draft.parent) as pictures:
        data = _data(opened, num_samples, pictures)
        data["title"] = title or opened.name
        # "<" written out, so that no text of a prompt can end the script element.
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        template = (files("diffumask_datasets.review") / "page.html").read_text(encoding="utf-8")
        start, end = template.replace(PLACE_OF_DATA, text).split(PLACE_OF_PICTURES)
        with draft.open("w", encoding="utf-8") as page:
            page.write(start)
            pictures.seek(0)
            shutil.copyfileobj(pictures, page)
            page.write(end)
    return target


def _data(opened: OpenDataset, most: int | None, pictures: IO[str]) -> dict[str, Any]:
    density = Density(opened.fewest_objects)
    samples = _cards(opened, most, density, pictures)
    return {
        "file": DECISIONS_FILE,
        "classes": list(opened.classes),
        "colours": [_hex(class_id) for class_id in range(1, len(opened.classes) + 1)],
        "heat_maps": opened.heat_maps,
        "samples": samples,
        "density": str(density),
        "decisions": _decisions(opened),
    }


def _cards(opened: OpenDataset, most: int | None, density: Density, pictures: IO[str]) -> list[dict[str, Any]]:
    """What the page knows of each sample from the start; the pictures go into a file, as they need not fit into memory."""
    normalization = (opened.recipe_fields or {}).get("heat_normalization", "local")
    stuff = opened.stuff
    cards: list[dict[str, Any]] = []
    for split, checked in itertools.islice(opened.checked(), most):
        shown = pictures_of(checked.row, checked.pixels, checked.label, normalization=normalization)
        pictures.write(_script(f' type="application/json" id="p{len(cards)}"', json.dumps(shown)))
        image = image_density(checked.row, stuff)
        density.add(image)
        cards.append(_card(split, checked.row, image))
        if len(cards) % PER_STEP == 0:
            pictures.write(_script("", f"arrived({len(cards)})"))
    pictures.write(_script("", f"arrived({len(cards)})"))
    return cards


def _script(attributes: str, text: str) -> str:
    return f"<script{attributes}>{text}</script>\n"


def _card(split: str, row: Row, density: ImageDensity) -> dict[str, Any]:
    return {
        "id": row["sample_id"],
        "split": split,
        "classes": list(row["classes"]),
        "objects": density.objects,
        "touching": density.touching,
        "quality": round(float(row["quality"]), 4),
        "prompt": row["prompt"],
    }


def _hex(class_id: int) -> str:
    return "#" + bytes(class_colours()[class_id]).hex()


def _decisions(opened: OpenDataset) -> list[dict[str, Any]]:
    return [
        {"sample_id": one.sample_id, "verdict": one.verdict, "reason": one.reason, "tags": list(one.tags)}
        for one in (opened.decisions or {}).values()
    ]
