"""The promptable segmenter of drawn shapes, as the product reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffumask_datasets.masks.promptable import Prompt, Segmenter, load_segmenter
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.sam_prompts import deepest_points
from diffumask_datasets.toybox import CLASS_NAMES, Demand, render_scene
from examples.small_model.drawn_shapes import draw_shape_scene
from tests.helpers.small_models import SMALL_SEGMENTER


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load_segmenter(str(SMALL_SEGMENTER), device="cpu")


def test_the_weights_are_small_and_say_how_they_were_trained() -> None:
    assert sum(path.stat().st_size for path in SMALL_SEGMENTER.iterdir()) < 6e6
    facts = json.loads((SMALL_SEGMENTER / "training.json").read_text(encoding="utf-8"))
    assert facts["step"] == facts["steps"]


def test_a_box_around_a_drawn_shape_finds_it(segmenter: Segmenter) -> None:
    scenes = [draw_shape_scene(60_000_000 + number) for number in range(8)]  # none of them was trained on
    masks = [scene.instances == np.argmax(np.bincount(scene.instances.ravel())[1:]) + 1 for scene in scenes]
    found = [asked(segmenter, scene.image, mask) for scene, mask in zip(scenes, masks, strict=True)]
    assert np.mean(found) > 0.7


def test_a_point_finds_a_thing_of_the_ten_classes(segmenter: Segmenter) -> None:
    scenes = [render_scene(k, split="test", demand=Demand(classes=[name])) for k, name in enumerate(CLASS_NAMES)]
    found = [asked(segmenter, scene.image, scene.instances == 1, box=False) for scene in scenes]
    assert np.mean(found) > 0.6


def asked(segmenter: Segmenter, image: np.ndarray, mask: np.ndarray, *, box: bool = True) -> float:
    """IoU of the answer that promises most, to the deepest point of a mask and its box."""
    ((row, column),) = deepest_points(mask, most=1)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    around = (columns[0], rows[0], columns[-1], rows[-1]) if box else None
    (answer,) = segmenter.ask(image, [Prompt(np.array([[column, row]], np.float32), np.array([1]), box=around)])
    return iou(answer.logits[int(answer.scores.argmax())] > 0, mask)
