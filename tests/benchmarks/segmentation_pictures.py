"""What the ablations train on: other masks, augmented images; and the masks that noise learning drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets.augmentation.transform import Augment
from diffumask_datasets.dataset.contact_sheet import card_of, overlay, sheet_of
from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.segmentation.segmenter import Segmenter
from tests.benchmarks.segmentation_data import GeneratedImage, Kept, Remasked
from tests.benchmarks.segmentation_experiments import Experiment, Repeat

IMAGES = 6
DROPPED = 8
AUGMENTED = 3
ERRORS = 8


def save_masks(members: Sequence[Experiment], folder: Path, path: Path) -> None:
    """A line for each of the first images, whole and under the masks of every experiment that is made of the same images."""
    made = {member.name: member.parts[0].data for member in members}
    kinds = {name: data for name, data in made.items() if _images_of(data) == _images_of(made[members[0].name])}
    rows = {name: data.rows(folder).select(range(IMAGES)) for name, data in kinds.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet_of([_card(rows, place) for place in range(IMAGES)], columns=1).save(path)


def save_dropped(members: Sequence[Experiment], folder: Path, path: Path) -> None:
    """The first images that the least share drops, each with the class it is dropped for: of all, then of one class."""
    chosen = [data for member in members for data in member.data if isinstance(data, Kept) and data.drop]
    least = [
        min((data for data in chosen if data.alone == alone), key=lambda data: data.drop or 0)
        for alone in (False, True)
    ]
    cards = [card for data in least for card in _dropped(data, folder)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if cards:  # a quick run has so few images that a small share is none of them
        sheet_of(cards, columns=4).save(path)


def save_augmented(members: Sequence[Experiment], folder: Path, path: Path) -> None:
    """A line for the first images of each kind, whole and under every augmentation of the experiments, with their masks."""
    steps = {data: [] for data in (member.parts[0].data for member in members)}
    for member in members:
        (step,) = member.training["augment"]
        steps[member.parts[0].data].append({**step, "probability": 1})
    cards = [card for data, augment in steps.items() for card in _augmented(data.rows(folder), augment)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet_of(cards, columns=1).save(path)


def save_errors(before: Experiment, after: Experiment, folder: Path, path: Path) -> None:
    """The test scenes that the model of ``after`` gains most on: image, true mask, what each of the two models predicts."""
    models = [Repeat(experiment, 0).model(folder) for experiment in (before, after)]
    if not all(model.exists() for model in models):
        return
    rows = after.test.rows(folder)
    images, labels = (
        [read(row[name]) for row in rows] for name, read in (("image", decode_image), ("label", decode_label))
    )
    found = [list(Segmenter.load(model).predict(images)) for model in models]
    right = [[float((seen == label).mean()) for seen, label in zip(masks, labels, strict=True)] for masks in found]
    gains = np.subtract(right[1], right[0])
    cards = []
    for place in np.argsort(-gains)[:ERRORS].tolist():
        masks = [labels[place], *(seen[place] for seen in found)]
        tiles = [images[place], *(overlay(images[place], mask) for mask in masks)]
        cards.append(card_of(tiles, caption=f"image · truth · {before.name} · {after.name}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet_of(cards, columns=2).save(path)


def _augmented(rows: Any, steps: Sequence[Mapping[str, Any]]) -> list[Image.Image]:
    changes = [Augment([step], pool=rows) for step in steps]
    cards = []
    for place in range(AUGMENTED):
        seen = [rows[place], *(change(rows[place]) for change in changes)]
        tiles = [overlay(decode_image(row["image"]), decode_label(row["label"])) for row in seen]
        caption = " · ".join(["image", *(f"{step['kind']} {step.get('grid', '')}".strip() for step in steps)])
        cards.append(card_of(tiles, caption=caption))
    return cards


def _dropped(chosen: Kept, folder: Path) -> list[Image.Image]:
    rows = chosen.of.rows(folder)
    dropped = [(row, found) for row, found in chosen.judged(folder).items() if found][:DROPPED]
    cards = []
    for row, found in dropped:
        image, label = decode_image(rows[row]["image"]), decode_label(rows[row]["label"])
        worst = min(found.values(), key=lambda flag: flag.score)
        cards.append(card_of([image, overlay(image, label)], caption=worst.reason.split(" with ")[0]))
    return cards


def _images_of(data: object) -> object:
    return data.of if isinstance(data, Remasked) else data if isinstance(data, GeneratedImage) else None


def _card(rows: Mapping[str, Any], place: int) -> Image.Image:
    image = decode_image(next(iter(rows.values()))[place]["image"])
    labels = [decode_label(kind[place]["label"]) for kind in rows.values()]
    caption = " · ".join(["image", *rows]).replace("γ", "gamma")  # the font has no Greek
    return card_of([image, *(overlay(image, label) for label in labels)], caption=caption)
