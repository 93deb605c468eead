"""The part ``sampler`` of bench_toybox: schedulers and numbers of steps, judged by a network that knows the drawn world.

Every sampler generates the same prompts from the same seeds in this process alone, so that its CPU seconds can be compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from diffumask_datasets import generate
from diffumask_datasets.attention.search import best_threshold_iou
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.toybox import CLASS_NAMES, COLOURS
from diffumask_datasets.toybox.captions import with_article
from diffumask_datasets.toybox.judge import Verdict, load_judge

BEFORE = "ddim_20"
SAMPLERS: dict[str, dict[str, Any]] = {
    "shipped": {},
    BEFORE: {"scheduler": "DDIMScheduler", "num_inference_steps": 20},
}
"""Fields of each; ``shipped`` is what a recipe gets that names none."""


def sampler_figures(*, quick: bool) -> dict[str, float]:
    """Figures of each sampler; ``toybox_cpu_ratio`` is that of the shipped one against 20 steps of DDIM."""
    found = {name: _judged(fields, quick=quick) for name, fields in SAMPLERS.items()}
    figures = {f"sampler_{name}_{key}": value for name, values in found.items() for key, value in values.items()}
    ratio = found["shipped"]["cpu_seconds_an_image"] / found[BEFORE]["cpu_seconds_an_image"]
    return {"toybox_cpu_ratio": ratio, **figures}


def _judged(fields: Mapping[str, Any], *, quick: bool) -> dict[str, float]:
    singles = [(colour, (name,)) for name in CLASS_NAMES for colour in COLOURS][:: 8 if quick else 1]
    pairs = [("", pair) for pair in combinations(CLASS_NAMES, 2)] * 2
    one = _generated(singles, fields)
    two = _generated(pairs[: 8 if quick else None], fields)
    return {
        "cpu_seconds_an_image": one.seconds,
        "class_accuracy": float(np.mean([verdict.best_class == name for verdict, (_, (name,)) in one.asked(singles)])),
        "colour_accuracy": float(
            np.mean([verdict.best_colour == colour for verdict, (colour, _) in one.asked(singles)])
        ),
        "two_object_accuracy": float(
            np.mean([set(names) <= verdict.classes for verdict, (_, names) in two.asked(pairs)])
        ),
        "heatmap_iou": one.heat_iou,
        "mask_iou_single": one.mask_iou,
        "mask_iou_pairs": two.mask_iou,
    }


class _Judged:
    """Rows of a dataset beside the judge's verdicts."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], seconds: float) -> None:
        self.seconds = seconds / len(rows)
        self.verdicts = load_judge().look([decode_image(row["image"]) for row in rows])
        heat, masks = [], []
        for row, verdict in zip(rows, self.verdicts, strict=True):
            label = decode_label(row["label"])
            for category, heat_map in zip(row["heat_maps"]["category"], row["heat_maps"]["map"], strict=True):
                seen = verdict.label == category
                if seen.any():
                    heat.append(best_threshold_iou(decode_label(heat_map), seen)[0])
                    masks.append(iou(label == category, seen))
        self.heat_iou, self.mask_iou = float(np.mean(heat)), float(np.mean(masks))

    def asked(self, prompts: Sequence[Any]) -> list[tuple[Verdict, Any]]:
        """Each verdict, and what was asked for."""
        return [(verdict, prompts[index]) for index, verdict in enumerate(self.verdicts)]


def _generated(asked: Sequence[tuple[str, tuple[str, ...]]], fields: Mapping[str, Any]) -> _Judged:
    prompts = [" and ".join(with_article(f"{colour} {name}".strip()) for name in names) for colour, names in asked]
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        generate(
            classes=list(CLASS_NAMES),
            prompts=[f"a photo of {prompt}" for prompt in prompts],
            num_samples=len(prompts),
            output=f"{folder}/dataset",
            store=f"{folder}/store",
            keep_heat_maps=True,
            workers=1,
            mask_workers=0,
            **fields,
        )
        seconds = time.process_time() - started
        return _Judged([row for _, row in open_dataset(f"{folder}/dataset").rows()], seconds)
