"""Sheets of masks on photographs, in thumbnails, and predicted quality over true IoU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from diffumask_datasets.dataset.contact_sheet import overlay, sheet_of
from tests.benchmarks.photos_data import Pixels
from tests.benchmarks.photos_refine import Judged

SHOWN = 30
COLUMNS = 3
TILE = 120
"""Longer side of a thumbnail in pixels."""

CAPTION = 13
COLOURS = 128
"""Of a sheet's palette, which makes it a fifth of what all colours take."""


def save_sheets(judged: Sequence[Judged], folder: Path) -> None:
    """``photos_worst.png`` and ``photos_random.png``: photo | human outline | ours, with IoU and predicted quality."""
    order = np.argsort([one.ious["refined"] for one in judged])
    chance = np.random.default_rng(0).permutation(len(judged))
    for name, places in (("worst", order), ("random", chance)):
        cards = [_card(judged[place]) for place in places[:SHOWN].tolist()]
        sheet = sheet_of(cards, columns=COLUMNS).quantize(COLOURS)
        folder.mkdir(parents=True, exist_ok=True)
        sheet.save(folder / f"photos_{name}.png", optimize=True)


def save_quality(pairs: dict[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """A point for each (predicted quality, true IoU), in a colour for each name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="tight")
    axes = figure.add_subplot(xlabel="IoU with the human mask", ylabel="predicted quality", xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    for name, points in pairs.items():
        quality, truth = zip(*points, strict=True)
        axes.scatter(truth, quality, s=24 if len(points) < 200 else 3, label=f"{name} ({len(points)})", alpha=0.6)
    axes.legend(loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _card(one: Judged) -> Image.Image:
    image = one.item.image
    ((_, truth),) = one.item.truth.items()
    tiles = [image, overlay(image, truth.astype(np.uint8)), overlay(image, one.masks.semantic)]
    shown = [_thumbnail(tile) for tile in tiles]
    width, height = shown[0].size
    card = Image.new("RGB", (3 * width, height + CAPTION), "white")
    for place, tile in enumerate(shown):
        card.paste(tile, (place * width, 0))
    caption = f"IoU {one.ious['refined']:.2f} (unrefined {one.ious['unrefined']:.2f}), quality {one.quality:.2f}"
    ImageDraw.Draw(card).text((2, height + 1), caption, fill="black")
    return card


def _thumbnail(tile: Pixels) -> Image.Image:
    image = Image.fromarray(tile)
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return image
