"""A whole dataset from the shipped model, looked at as a user would. Run by ``make bench-dataset``.

Also writes the contact sheet ``docs/dataset.png`` (``build/benchmarks/dataset.png`` when quick).
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset

from diffumask_datasets.dataset.contact_sheet import contact_sheet
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.toybox.world import CLASS_NAMES
from tests.benchmarks.harness import ROOT, run

SHEET_SAMPLES = 28


def measure(quick: bool) -> Mapping[str, float]:
    count = 40 if quick else 500
    classes = "toybox"  # the vocabulary: ten classes, eight colours, eight places
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        dataset = load_dataset(
            "diffumask",
            classes=classes,
            num_samples=count,
            split="train",
            num_proc=2,
            cache_dir=f"{folder}/datasets",
            store=f"{folder}/store",
        )
        seconds = time.perf_counter() - started
        figures = _figures(dataset)
        rows = GeneratedSamples(prepare(Recipe.of(classes=classes)), Runtime(store=Path(folder) / "store")).rows(
            0, SHEET_SAMPLES
        )
        picture = (ROOT / "build" / "benchmarks" if quick else ROOT / "docs") / "dataset.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet([row for _, row in rows], CLASS_NAMES, columns=4).save(picture)
    return {"images": dataset.num_rows, "images_per_second_2_processes": count / seconds, **figures}


def _figures(dataset: Any) -> dict[str, float]:
    labels = [decode_label(row["label"]) for row in dataset]
    plain = dataset.remove_columns(["image", "label"])
    prompted = Counter(name for row in plain for name in CLASS_NAMES if name in row["prompt"].split())
    ignored = np.array([(label == 255).mean() for label in labels])
    covered = np.array([((label > 0) & (label < 255)).mean() for label in labels])
    return {
        "fewest_images_of_a_class": min(prompted.values()),
        "quality_mean": float(np.mean(plain["quality"])),
        "quality_under_half": float(np.mean(np.array(plain["quality"]) < 0.5)),
        "images_without_mask": sum(not found for found in plain["classes"]),
        "objects_per_image": float(np.mean([len(found["id"]) for found in plain["objects"]])),
        "object_share_of_image": float(covered.mean()),
        "ignored_share_of_image": float(ignored.mean()),
        "threshold_mean": float(np.mean([gamma for found in plain["threshold"] for gamma in found])),
        "threshold_deviation": float(np.std([gamma for found in plain["threshold"] for gamma in found])),
    }


if __name__ == "__main__":
    run("dataset", measure)
