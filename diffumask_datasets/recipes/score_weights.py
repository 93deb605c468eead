"""More samples of the classes that a segmenter knows least: shares from the scores of an evaluation (S3OD's loop)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["LEAST_WEIGHT", "weights_from_scores"]

LEAST_WEIGHT = 0.05
"""Even a class that is segmented perfectly stays among the samples."""


def weights_from_scores(path: Path, classes: Sequence[str]) -> dict[str, float]:
    """A weight of each class: how far its IoU is from 1, at least :data:`LEAST_WEIGHT`.

    Args:
        path: ``scores.json`` as ``diffumask evaluate --output`` writes it.
        classes: The names of the classes.

    Returns:
        Class → weight, for the recipe's ``class_weights``.

    Raises:
        RecipeError: the file cannot be read, is no such file, or has no IoU of a class.
    """
    found: Any = read_json(path, what="the scores", error=RecipeError)
    scores = found.get("classes") if isinstance(found, dict) else None
    if not isinstance(scores, dict):
        raise RecipeError(
            f"{path} has no scores of classes: give the scores.json that diffumask evaluate --output writes"
        )
    return {name: round(max(LEAST_WEIGHT, 1 - _iou(path, scores, name)), 4) for name in classes}


def _iou(path: Path, scores: dict[str, Any], name: str) -> float:
    entry = scores.get(name)
    iou = entry.get("iou") if isinstance(entry, dict) else None
    if isinstance(iou, bool) or not isinstance(iou, (int, float)) or not 0 <= iou <= 1:
        raise RecipeError(
            f"{path} has no IoU of {name!r} (it scores {', '.join(map(repr, scores)) or 'nothing'}): "
            "evaluate on images that show it, or give class_weights yourself"
        )
    return float(iou)
