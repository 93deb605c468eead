"""The small models of second opinions, as ``model=`` takes them: weights in float16 and ``training.json``, their facts."""

from __future__ import annotations

import shutil
from pathlib import Path

SMALL_SEGMENTER = Path(__file__).parents[1] / "models" / "segmenter"
"""A ``SamModel`` of drawn shapes that are none of the ten classes; ``examples.small_model.promptable`` trains it."""

SMALL_IMAGE_TEXT = Path(__file__).parents[1] / "models" / "contrastive"
"""A ``CLIPModel`` of drawn scenes and their captions; ``examples.small_model.contrastive`` trains it."""


def keep(model: Path, place: Path) -> None:
    """Takes what is to be committed from ``model``, which a training has written."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(model, place)
