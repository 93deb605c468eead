"""Painting over compositions in the benchmark of diversity: what stays where it was, by the judge, and a sheet of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from diffumask_datasets import generate
from diffumask_datasets.augmentation.folder import augment_folder
from diffumask_datasets.dataset.contact_sheet import card_of, overlay, sheet_of
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row, image_of, label_of
from diffumask_datasets.generation.harmonize import harmonize
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.toybox import CLASS_NAMES
from diffumask_datasets.toybox.judge import load_judge

COMPOSE = {"kind": "compose", "objects": [3, 4], "scale": [0.4, 0.7], "lift": True, "min_visible": 0.8}
STRENGTHS = (0.2, 0.4, 0.8)
LINES = 6


def harmonized(count: int, folder: Path, sheet: Path) -> Iterator[tuple[str, float]]:
    """Of ``count`` compositions at each strength: how many were painted over, and what the judge sees in them."""
    generate(folder / "plain", num_samples=count, store=folder / "store", classes=list(CLASS_NAMES))
    augment_folder(folder / "plain", folder / "composed", augment=COMPOSE)
    shown = {"composed": rows_of(folder / "composed")}
    yield "composed_judge_iou", seen(shown["composed"])
    for strength in STRENGTHS:
        name = f"harmonized {strength:g}"
        done = harmonize(folder / "composed", folder / name, strength=strength)
        shown[name] = rows_of(folder / name)
        pairs = zip(shown[name], shown["composed"], strict=True)
        painted = [after for after, before in pairs if after["image"] != before["image"]]
        figure = f"harmonized_{round(100 * strength)}"
        yield f"{figure}_painted", done.painted / count
        if painted:
            yield f"{figure}_judge_iou", seen(painted)
        everything = harmonize(folder / "composed", folder / f"all {strength}", strength=strength, min_agreement=1e-6)
        assert everything.painted == count
        yield f"{figure}_judge_iou_unchecked", seen(rows_of(folder / f"all {strength}"))
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet_of([card(shown, place) for place in range(min(LINES, count))], columns=1).save(sheet)


def rows_of(folder: Path) -> list[Row]:
    """All rows of a dataset."""
    return [row for _, row in open_dataset(folder).rows()]


def seen(rows: Sequence[Row]) -> float:
    """Mean IoU of the masks with what the judge sees, over the classes of each image."""
    verdicts = load_judge().look([image_of(row) for row in rows])
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        label = label_of(row)
        known = label != IGNORE
        found += [iou((verdict.label == own) & known, label == own) for own in row["classes"]]
    return float(np.mean(found))


def card(shown: dict[str, list[Row]], place: int) -> Image.Image:
    """A line of the sheet: the masks, the composition, and what was made of it."""
    (composed, *_), images = shown.values(), [image_of(rows[place]) for rows in shown.values()]
    return card_of([overlay(images[0], label_of(composed[place])), *images], caption=" · ".join(["masks", *shown]))
