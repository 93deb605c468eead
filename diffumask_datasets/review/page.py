"""``diffumask review --html``: one file with everything in it, for a browser without server, network or FiftyOne."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.decisions import DECISIONS_FILE
from diffumask_datasets.dataset.density import Density, image_density
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.schema import Row, image_of, label_of
from diffumask_datasets.dataset.storage import Location, name_of, parse_location
from diffumask_datasets.errors import ExportError

__all__ = ["write_page"]

LONGER_SIDE = 320
"""Pixels of a picture on the page; masks are shrunk without mixing class ids."""

JPEG_QUALITY = 82
PLACE_OF_DATA = "/*REVIEW-DATA*/"


def write_page(
    source: Any, output: str | Path, *, num_samples: int | None = None, title: str | None = None
) -> Location:
    """Writes the review page of a dataset; returns where it is. Decisions that lie beside the data are shown.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, a ``Dataset`` or a dict of splits.
        output: A file or URL that ends in ``.html``.
        num_samples: The most samples that are put on the page.
        title: The title of the page; default: the name of the dataset.

    Raises:
        ExportError: Not a dataset, or ``output`` cannot be written.
    """
    opened, target = open_dataset(source), parse_location(output)
    if not name_of(target).lower().endswith((".html", ".htm")):
        raise ExportError(f"{output} is no page: give a file that ends in .html")
    density = Density()
    samples = _samples(opened, num_samples, density)
    data = {
        "title": title or opened.name,
        "file": DECISIONS_FILE,
        "classes": list(opened.classes),
        "colours": [_hex(class_id) for class_id in range(1, len(opened.classes) + 1)],
        "samples": samples,
        "density": str(density),
        "decisions": _decisions(opened),
    }
    # "<" written out, so that no text of a prompt can end the script element.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    template = (files("diffumask_datasets.review") / "page.html").read_text(encoding="utf-8")
    with atomic_file(target) as draft:
        draft.write_text(template.replace(PLACE_OF_DATA, text), encoding="utf-8")
    return target


def _samples(opened: OpenDataset, most: int | None, density: Density) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = []
    for split, row in opened.rows():
        if most is not None and len(cards) >= most:
            break
        cards.append(_card(split, row, density))
    return cards


def _card(split: str, row: Row, total: Density) -> dict[str, Any]:
    image = Image.fromarray(image_of(row))
    label = Image.fromarray(label_of(row))
    size_wh = _fitted(image.size)
    density = image_density(row)
    total.add(density)
    return {
        "id": row["sample_id"],
        "split": split,
        "image": _data_uri(
            image.resize(size_wh, Image.Resampling.LANCZOS), "JPEG", quality=JPEG_QUALITY, subsampling=0
        ),
        "mask": _data_uri(_overlay(label.resize(size_wh, Image.Resampling.NEAREST)), "PNG"),
        "classes": list(row["classes"]),
        "objects": density.objects,
        "touching": density.touching,
        "quality": round(float(row["quality"]), 4),
        "prompt": row["prompt"],
    }


def _overlay(label: Image.Image) -> Image.Image:
    """Class ids in their colours, background transparent, as a palette image: a few hundred bytes."""
    picture = Image.fromarray(np.asarray(label))
    picture.putpalette(class_colours().tobytes())
    return picture


def _data_uri(picture: Image.Image, file_format: str, **how: Any) -> str:
    buffer = io.BytesIO()
    if picture.mode == "P":
        how["transparency"] = 0
    picture.save(buffer, file_format, **how)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _fitted(size_wh: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LONGER_SIDE / max(size_wh))
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def _hex(class_id: int) -> str:
    return "#" + bytes(class_colours()[class_id]).hex()


def _decisions(opened: OpenDataset) -> list[dict[str, Any]]:
    return [
        {"sample_id": one.sample_id, "verdict": one.verdict, "reason": one.reason, "tags": list(one.tags)}
        for one in (opened.decisions or {}).values()
    ]
