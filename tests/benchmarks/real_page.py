"""The page of bench_real: one HTML file with its figures, its circumstances and its contact sheets."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from tests.benchmarks.real_shown import METHODS

_ABOUT = {
    "auto": "the defaults",
    "equal": "all layers alike (attention equal)",
    "otsu": "Otsu's γ",
    "gamma_05": "γ 0.5 for all",
    "unrefined": "without refinement",
    "paper_crf": "the paper's DenseCRF",
}

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ccc;padding:.2em .8em;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}"
)


def page(
    title: str,
    figures: Mapping[str, float],
    *,
    facts: Mapping[str, Any],
    sheets: Mapping[str, Image.Image],
    errors: Sequence[str],
) -> str:
    """The page as text; it needs no other file.

    Args:
        title: What was measured on what.
        figures: Every figure by its name.
        facts: What else is worth knowing: the run, the recipe, the dataset.
        sheets: Contact sheets under their headings.
        errors: What went wrong with single images.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if "shown_images" in figures:
        parts += ["<h2>Masks of images shown to the model, their classes given</h2>", _methods(figures)]
    parts += ["<h2>All figures</h2>", _table(["figure", "value"], [[name, _number(figures, name)] for name in figures])]
    if errors:
        items = "".join(f"<li>{html.escape(error)}</li>" for error in dict.fromkeys(errors))
        parts += [f"<h2>What failed</h2><p>{len(errors)} masks; the distinct reasons:</p><ul>{items}</ul>"]
    for heading, sheet in sheets.items():
        parts += [f"<h2>{html.escape(heading)}</h2>", f'<img alt="{html.escape(heading)}" src="{_embedded(sheet)}">']
    parts += ["<h2>Circumstances</h2>", _table(["", ""], [[name, str(value)] for name, value in facts.items()])]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _methods(figures: Mapping[str, float]) -> str:
    columns = ("iou_{}_single", "iou_{}_several", "miou_{}")
    rows = [[_ABOUT[name], *(_number(figures, column.format(name)) for column in columns)] for name in METHODS]
    for attention, about in (("auto", "heat map at its best threshold"), ("equal", "the same, all layers alike")):
        rows.append([about, *(_number(figures, f"heat_{attention}_{kind}") for kind in ("single", "several")), ""])
    return _table(["masks", "one class, mean IoU", "several classes, mean IoU", "mIoU with background"], rows)


def _number(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.4g}" if name in figures else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = [
        "".join(f"<td{' class=n' if place else ''}>{html.escape(cell)}</td>" for place, cell in enumerate(row))
        for row in rows
    ]
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _embedded(sheet: Image.Image) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
