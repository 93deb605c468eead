"""The trainer of a small promptable segmenter: what it shows, what it asks, and that the package can use what it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffumask_datasets.masks.promptable import Prompt, load_segmenter
from examples.small_model import promptable
from examples.small_model.drawn_shapes import draw_shape_scene
from examples.small_model.shape_prompts import MASK_SIDE, ask, correcting_point


def test_scenes_follow_from_their_seed_and_hold_copies() -> None:
    one, again, other = draw_shape_scene(5), draw_shape_scene(5), draw_shape_scene(6)
    assert np.array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)
    scenes = [draw_shape_scene(seed) for seed in range(12)]
    assert all(scene.instances.max() <= len(scene.kinds) for scene in scenes)
    assert any(len(set(scene.kinds)) < len(scene.kinds) for scene in scenes)


def test_prompts_are_about_their_truth() -> None:
    scenes = [draw_shape_scene(seed) for seed in range(6)]
    asked = ask(scenes, 2, np.random.default_rng(0))
    assert len(asked.image) == 12
    for row in range(12):
        instances, truth = scenes[int(asked.image[row])].instances, asked.truth[row]
        places = asked.points[row].long()[asked.labels[row] >= 0].tolist()
        labels = asked.labels[row][asked.labels[row] >= 0].tolist()
        owners = [int(instances[y, x]) for x, y in places]
        assert [owner == owners[0] for owner in owners] == [label == 1 for label in labels]
        assert owners[0] > 0
        assert truth.max() == 1
        assert asked.heat[row].shape == (1, MASK_SIDE, MASK_SIDE)
    wrong = torch.full_like(asked.truth, -5.0)
    points, labels = correcting_point(wrong, asked.truth, 2)
    assert labels.flatten().tolist() == [1] * 12  # everything is missing: a point on the object
    assert all(asked.truth[row, int(y) // 2, int(x) // 2] > 0.5 for row, (x, y) in enumerate(points[:, 0].tolist()))


def test_what_is_trained_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promptable, "TEST_SCENES", 2)
    promptable.train(promptable.Settings(steps=2, batch=2, each=1), tmp_path)
    segmenter = load_segmenter(str(tmp_path / "model"), device="cpu")
    (answer,) = segmenter.ask(draw_shape_scene(0).image, [Prompt(np.array([[60, 60]], np.float32), np.array([1]))])
    assert answer.logits.shape == (3, 128, 128)
    size = sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert size < 6e6
    kept = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    promptable.train(promptable.Settings(steps=2, batch=2, each=1), tmp_path)  # finished: nothing is left to do
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == kept
