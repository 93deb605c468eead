"""The joint-attention model of bench_transfer: what was tuned to it, and whether what it generates can be recognised."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset

from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.toybox import CLASS_NAMES
from diffumask_datasets.toybox.captions import with_article
from diffumask_datasets.toybox.judge import load_judge

MMDIT_TUNED: dict[str, Any] = {
    "attention_words": "phrase",
    "attention_grids": (16,),
    "attention_timesteps": (350, 350),
    "contrast": "words",
    "competition": 8.0,
    "affinity": "self-attention",
    "affinity_power": 4,
}
"""What ``diffumask tune-attention --model … --images 16 --phrases`` recommends for it, on scenes that no figure uses."""


def judged(model: Path, *, per_class: int) -> dict[str, float]:
    """Share of generated images whose class the judge names, and IoU of their masks with the judge's; all by default."""
    with tempfile.TemporaryDirectory() as folder:
        rows = load_dataset(
            "diffumask",
            classes=list(CLASS_NAMES),
            model=str(model),
            prompts=[f"a photo of {with_article(name)}" for name in CLASS_NAMES],
            num_samples=per_class * len(CLASS_NAMES),
            split="train",
            cache_dir=f"{folder}/datasets",
            store=f"{folder}/store",
        )
        images = [decode_image(row["image"]) for row in rows]
        labels = [decode_label(row["label"]) for row in rows]
    asked = [CLASS_NAMES[index % len(CLASS_NAMES)] for index in range(len(images))]
    verdicts = load_judge().look(images)
    right = [verdict.best_class == name for verdict, name in zip(verdicts, asked, strict=True)]
    overlaps = [
        iou(label == CLASS_NAMES.index(name) + 1, verdict.label == CLASS_NAMES.index(name) + 1)
        for label, name, verdict, good in zip(labels, asked, verdicts, right, strict=True)
        if good
    ]
    return {
        "mmdit_class_accuracy": float(np.mean(right)),
        "mmdit_mask_iou_generated": float(np.mean(overlaps)) if overlaps else 0.0,
    }
