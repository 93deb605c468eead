"""Pictures of a training and of an evaluation: curves, confusion matrix, the worst images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from diffumask_datasets.errors import MissingDependencyError
from diffumask_datasets.preview import overlay
from diffumask_datasets.segmentation.labelled import Pixels
from diffumask_datasets.segmentation.metrics import Counts

__all__ = ["Mistake", "save_confusion", "save_curves", "worst_sheet"]

logger = logging.getLogger(__name__)

TILE = 160
"""Longer side of a tile in pixels."""
CAPTION = 16
GAP = 8
MOST_NUMBERS = 25
"""Classes up to which the cells of a confusion matrix carry their numbers."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One evaluated image, its masks in the same ids."""

    name: str
    iou: float
    image: Pixels
    label: Pixels
    prediction: Pixels


def save_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss and learning rate over the steps of a training."""
    figure = _figure(7, 4)
    if figure is None or not history:
        return
    axes = figure.add_subplot()
    steps = [entry["step"] for entry in history]
    axes.plot(steps, [entry["loss"] for entry in history], color="tab:blue")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    rates = axes.twinx()
    rates.plot(steps, [entry["learning_rate"] for entry in history], color="tab:grey", linestyle="--")
    rates.set(ylabel="learning rate", ylim=(0, None))
    figure.savefig(path, dpi=120)


def save_confusion(confusion: Counts, classes: Sequence[str], path: Path) -> None:
    """Share of each true class (row) that was predicted as each class (column), in percent."""
    side = max(4.0, 0.45 * len(classes) + 2)
    figure = _figure(side, side)
    if figure is None:
        return
    totals = confusion.sum(axis=1, keepdims=True)
    shares = 100 * confusion / np.maximum(totals, 1)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=90)
    axes.set_yticks(places, classes)
    axes.set(xlabel="predicted", ylabel="truth")
    if len(classes) <= MOST_NUMBERS:
        for row, column in np.argwhere(shares >= 0.5):
            colour = "white" if shares[row, column] > 50 else "black"
            axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    figure.savefig(path, dpi=120)


def worst_sheet(mistakes: Sequence[Mistake], *, columns: int = 2) -> Image.Image:
    """Image | truth | prediction of each, worst first."""
    cards = [_card(mistake) for mistake in sorted(mistakes, key=lambda mistake: (mistake.iou, mistake.name))]
    width, height = (max(card.size[axis] for card in cards) for axis in (0, 1))
    columns = min(columns, len(cards))
    lines = -(-len(cards) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, lines * (height + GAP) + GAP), "white")
    for place, card in enumerate(cards):
        line, column = divmod(place, columns)
        sheet.paste(card, (GAP + column * (width + GAP), GAP + line * (height + GAP)))
    return sheet


def _card(mistake: Mistake) -> Image.Image:
    tiles = [mistake.image, overlay(mistake.image, mistake.label), overlay(mistake.image, mistake.prediction)]
    height, width = mistake.label.shape
    scale = TILE / max(height, width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    card = Image.new("RGB", (len(tiles) * size_wh[0], size_wh[1] + CAPTION), "white")
    for place, tile in enumerate(tiles):
        card.paste(Image.fromarray(tile).resize(size_wh, Image.Resampling.LANCZOS), (place * size_wh[0], 0))
    ImageDraw.Draw(card).text((2, size_wh[1] + 2), f"IoU {mistake.iou:.2f} · {mistake.name}", fill="black")
    return card


def _figure(width: float, height: float) -> Any:
    """A figure of ``width`` x ``height`` inches; None, with a warning, where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning(
            "no pictures of curves and matrices: %s", MissingDependencyError.of("matplotlib", "segmentation")
        )
        return None
    # A figure of its own, not pyplot's: that one keeps every figure in a global list.
    return Figure(figsize=(width, height), layout="constrained")
