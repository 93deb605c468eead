"""Instances on the toybox: a small Mask2Former trained on generated images with or without compositions, by COCO's AP
on drawn scenes whose objects touch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import AutoModelForUniversalSegmentation

from diffumask_datasets.augmentation.pipeline import augmented, drawn_others
from diffumask_datasets.augmentation.scene import Scene, annotate, tidied
from diffumask_datasets.augmentation.splicing import resized
from diffumask_datasets.dataset.density import image_density
from diffumask_datasets.masks.rle import encode
from diffumask_datasets.recipes.augment_settings import parse_augment
from diffumask_datasets.segmentation.models import SMALL
from diffumask_datasets.toybox import CLASS_NAMES
from tests.benchmarks.diversity_compositions import drawn_scene

SIDE = 96
"""Pixels a side of what the network sees."""

RATE, WEIGHT_DECAY, BATCH = 5e-4, 0.05, 8
CLEAR = 0.05
"""Score under which a prediction is dropped, as it changes no precision that counts."""


@dataclass(frozen=True)
class Sizes:
    """Steps of each training, drawn scenes that judge, seeds."""

    steps: int
    test: int
    seeds: int


QUICK = Sizes(steps=4, test=6, seeds=1)
FULL = Sizes(steps=4500, test=200, seeds=3)


def instance_gain(plain: Sequence[Scene], step: Any, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """AP x 100 on touching objects after training on ``plain`` scenes, and after half of what is seen is composed."""
    held_out = touching_scenes(sizes.test)
    steps = parse_augment(step)
    found = {
        name: [
            average_precision(train_instances(plain, own, steps=sizes.steps, seed=seed), held_out)
            for seed in range(sizes.seeds)
        ]
        for name, own in (("plain", ()), ("composed", steps))
    }
    for name, figures in found.items():
        yield f"instance_ap_{name}", 100 * float(np.mean(figures))
    yield "instance_ap_gain", 100 * float(np.mean(found["composed"]) - np.mean(found["plain"]))


def touching_scenes(count: int) -> list[Scene]:
    """Drawn scenes of three objects of which at least two touch, none of them in any training."""
    made: list[Scene] = []
    seed = 10**6
    while len(made) < count:
        scene = tidied(drawn_scene(seed, count=3))
        seed += 1
        if image_density(annotate(scene)).touching:
            made.append(resized(scene, height=SIDE, width=SIDE))
    return made


def train_instances(plain: Sequence[Scene], augment: Any, *, steps: int, seed: int) -> Any:
    """A Mask2Former that was trained for so many steps from first weights that the seed decides."""
    torch.manual_seed(seed)
    config = SMALL["mask2former-small"]()
    config.num_labels = len(CLASS_NAMES)
    network = AutoModelForUniversalSegmentation.from_config(config).train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        places = rng.integers(len(plain), size=BATCH).tolist()
        batch = [_seen(plain, place, augment, key=f"{step}/{number}") for number, place in enumerate(places)]
        loss = network(
            pixel_values=pixels_of(batch),
            mask_labels=[_masks(scene) for scene in batch],
            class_labels=[torch.tensor([thing.category - 1 for thing in scene.things]) for scene in batch],
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def average_precision(network: Any, scenes: Sequence[Scene]) -> float:
    """COCO's AP over IoU 0.5 to 0.95 of the masks."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number, "height": SIDE, "width": SIDE} for number in range(len(scenes))],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(CLASS_NAMES)],
        "annotations": _annotations(scenes),
    }
    results = [result for number, scene in enumerate(scenes) for result in _predictions(network, scene, number)]
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(results), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return max(0.0, float(judged.stats[0]))


def _seen(plain: Sequence[Scene], place: int, augment: Any, *, key: str) -> Scene:
    others = drawn_others(plain.__getitem__, place, range(len(plain)))
    scene = tidied(augmented(plain[place], augment, seed=0, key=key, others=others))
    return tidied(resized(scene, height=SIDE, width=SIDE))


def pixels_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """What the network sees of the scenes: float32 (scenes, 3, height, width) from -1 to 1."""
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))  # (scenes, height, width, 3)
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def _masks(scene: Scene) -> torch.Tensor:
    numbers = np.arange(1, len(scene.things) + 1)[:, None, None]
    return torch.from_numpy(scene.instances[None] == numbers).float()  # (things, height, width)


def _annotations(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    cells = [(number, annotate(tidied(scene))["objects"]) for number, scene in enumerate(scenes)]
    objects = [
        {"image_id": number, "category_id": category, "bbox": box, "area": area, "segmentation": rle, "iscrowd": 0}
        for number, cell in cells
        for category, box, area, rle in zip(
            cell["category"], cell["bbox"], cell["area"], cell["segmentation"], strict=True
        )
    ]
    return [{"id": place, **found} for place, found in enumerate(objects, start=1)]


def _predictions(network: Any, scene: Scene, number: int) -> Iterator[dict[str, Any]]:
    with torch.no_grad():
        outputs = network(pixel_values=pixels_of([scene]))
    chances = outputs.class_queries_logits[0].softmax(dim=-1)[:, :-1]  # (queries, classes)
    size = {"size": (SIDE, SIDE), "mode": "bilinear"}
    masks = torch.nn.functional.interpolate(outputs.masks_queries_logits, **size)[0].sigmoid()
    for mask, (score, category) in zip(masks, zip(*chances.max(dim=-1), strict=True), strict=True):
        inside = mask > 0.5
        if score >= CLEAR and inside.any():
            certainty = float(score * mask[inside].mean())
            rle = encode(inside.numpy())
            yield {"image_id": number, "category_id": int(category) + 1, "segmentation": rle, "score": certainty}
