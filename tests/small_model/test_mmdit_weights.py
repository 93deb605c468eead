"""The joint-attention model of the drawn world, as the product reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffumask_datasets import generate
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.toybox import CLASS_NAMES
from diffumask_datasets.toybox.judge import load_judge
from tests.helpers.small_mmdit import WEIGHTS, save_small_mmdit


def test_the_weights_are_small_and_say_how_they_were_trained() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*")) < 12e6
    facts = json.loads((WEIGHTS / "training.json").read_text(encoding="utf-8"))
    assert facts["steps"] * facts["batch"] == facts["images_seen"]
    assert facts["command"].startswith("python -m examples.small_model.train ")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Six classes from their names alone: every other field is the default of an unknown SD 3."""
    folder = tmp_path_factory.mktemp("mmdit")
    model = save_small_mmdit(folder / "model")
    generate(
        classes=list(CLASS_NAMES[:6]),
        prompts=[f"a photo of a {name}" for name in CLASS_NAMES[:6]],
        num_samples=6,
        num_inference_steps=10,
        model=str(model),
        output=str(folder / "dataset"),
        store=str(folder / "store"),
        workers=1,
    )
    return [row for _, row in open_dataset(Path(folder / "dataset")).rows()]


def test_it_generates_what_is_asked_for_and_attends_to_it(rows: list[dict]) -> None:
    verdicts = load_judge().look([decode_image(row["image"]) for row in rows])
    assert sum(verdict.best_class == name for verdict, name in zip(verdicts, CLASS_NAMES, strict=False)) >= 5
    overlaps = [
        iou(decode_label(row["label"]) == index, verdict.label == index)
        for index, (row, verdict) in enumerate(zip(rows, verdicts, strict=True), start=1)
    ]
    assert float(np.median(overlaps)) > 0.8
