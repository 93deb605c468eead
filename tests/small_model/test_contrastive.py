"""The trainer of a small image-text model: what it shows, what it learns from, and that the package can ask it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffumask_datasets.masks.image_text import load_image_text
from diffumask_datasets.toybox import CLASS_NAMES, Demand, render_scene
from examples.small_model import contrastive
from tests.helpers.small_models import SMALL_IMAGE_TEXT


def test_pairs_follow_from_their_number() -> None:
    image, captions = contrastive.pair(3)
    assert image.shape == (64, 64, 3)
    assert np.array_equal(contrastive.pair(3)[0], image)
    assert not np.array_equal(contrastive.pair(3 + contrastive.SCENES)[0], image)  # another crop, or nothing at all
    captions = [caption for number in range(60) for caption in contrastive.pair(number)[1]]
    assert 1 <= captions.count("background") <= 12
    assert len(set(captions)) > 40


def test_images_of_equal_captions_are_no_rivals() -> None:
    logits = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    assert float(contrastive.contrastive_loss(logits, ["a car", "a car", "a cup"])) == pytest.approx(0.4624, abs=1e-3)
    assert float(contrastive.contrastive_loss(logits, ["a car", "a bus", "a cup"])) == pytest.approx(0.4624, abs=1e-3)
    apart = torch.eye(3) * 9
    assert float(contrastive.contrastive_loss(apart, ["a car", "a bus", "a cup"])) < 0.001
    assert float(contrastive.contrastive_loss(apart, ["a car", "a car", "a cup"])) > 2


def test_what_is_trained_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "TEST_SCENES", 1)
    contrastive.train(contrastive.Settings(steps=2, batch=4), tmp_path)
    model = load_image_text(str(tmp_path / "model"), device="cpu")
    image = np.full((40, 90, 3), 128, np.uint8)
    assert model.compare(image, ["a photo of a car", "background"]).shape == (2,)
    assert sum(path.stat().st_size for path in (tmp_path / "model").iterdir()) < 6e6
    kept = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    contrastive.train(contrastive.Settings(steps=2, batch=4), tmp_path)  # finished: nothing is left to do
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == kept


def test_the_weights_know_most_objects_by_name() -> None:
    model = load_image_text(str(SMALL_IMAGE_TEXT), device="cpu")
    texts = [f"a photo of a {name}" for name in CLASS_NAMES]
    named = []
    for number, name in enumerate(CLASS_NAMES * 2):
        scene = render_scene(number, split="test", demand=Demand(classes=[name]))
        rows, columns = np.nonzero(scene.instances == 1)
        cut_out = scene.image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        named.append(CLASS_NAMES[int(model.compare(cut_out, texts).argmax())] == name)
    assert np.mean(named) >= 0.75
    assert sum(path.stat().st_size for path in SMALL_IMAGE_TEXT.iterdir()) < 6e6
