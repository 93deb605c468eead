"""The promptable segmenter of drawn shapes that are none of the ten classes: it lies in ``tests/models/segmenter``."""

from __future__ import annotations

import shutil
from pathlib import Path

SMALL_SEGMENTER = Path(__file__).parents[1] / "models" / "segmenter"
"""As ``model=`` takes it: a ``SamModel`` in float16, its processor, and ``training.json``, the facts of its training."""


def keep_segmenter(model: Path) -> None:
    """Takes what is to be committed from ``model``, which ``examples.small_model.promptable`` has written."""
    shutil.rmtree(SMALL_SEGMENTER, ignore_errors=True)
    shutil.copytree(model, SMALL_SEGMENTER)
