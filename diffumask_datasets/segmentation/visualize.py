"""Pictures of a training and of an evaluation: curves, confusion matrix, the worst images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets.dataset.contact_sheet import card_of, overlay, sheet_of
from diffumask_datasets.errors import MissingDependencyError
from diffumask_datasets.segmentation.labelled import Pixels
from diffumask_datasets.segmentation.metrics import Counts

__all__ = ["Mistake", "save_confusion", "save_curves", "worst_sheet"]

logger = logging.getLogger(__name__)

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
    """Draws the share of each true class (row) that was predicted as each class (column), in percent.

    Args:
        confusion: The counts.
        classes: The class names.
        path: The picture.
    """
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


def worst_sheet(mistakes: Sequence[Mistake]) -> Image.Image:
    """Image | truth | prediction of each, worst first."""
    cards = [_card(mistake) for mistake in sorted(mistakes, key=lambda mistake: (mistake.iou, mistake.name))]
    return sheet_of(cards, columns=2)


def _card(mistake: Mistake) -> Image.Image:
    tiles = [mistake.image, overlay(mistake.image, mistake.label), overlay(mistake.image, mistake.prediction)]
    return card_of(tiles, caption=f"IoU {mistake.iou:.2f} · {mistake.name}")


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
