"""How right the masks are that noise learning confirms and flags: their IoU with what the toybox's judge sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.toybox.judge import load_judge
from tests.benchmarks.segmentation_data import GeneratedImage, Kept

BATCH = 100


def judged_ious(chosen: Sequence[Kept], folder: Path) -> list[tuple[float, float]]:
    """Of each, the mean IoU of all masks in the images that it confirms and in those that it flags; nan without any."""
    known = {of: _ious(of, folder) for of in {one.of for one in chosen}}
    return [_confirmed_and_flagged(one, known[one.of], folder) for one in chosen]


def _confirmed_and_flagged(chosen: Kept, ious: Sequence[Sequence[float]], folder: Path) -> tuple[float, float]:
    judged = chosen.judged(folder)
    confirmed = [value for row, found in judged.items() if not found for value in ious[row]]
    flagged = [value for row, found in judged.items() if found for value in ious[row]]
    return _mean(confirmed), _mean(flagged)


def _ious(generated: GeneratedImage, folder: Path) -> list[list[float]]:
    """Of every image those of its classes; ignored pixels do not count."""
    judge, rows, found = load_judge(), generated.rows(folder), []
    for start in range(0, len(rows), BATCH):
        some = [rows[place] for place in range(start, min(start + BATCH, len(rows)))]
        verdicts = judge.look([decode_image(row["image"]) for row in some])
        for row, verdict in zip(some, verdicts, strict=True):
            label = decode_label(row["label"])
            seen = np.where(label == IGNORE, IGNORE, verdict.label)
            found.append([iou(label == class_id, seen == class_id) for class_id in row["classes"]])
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
