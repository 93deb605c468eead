"""Training of the judge lowers its loss and leaves a judge with its figures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffumask_datasets.toybox import render_scene
from diffumask_datasets.toybox.judge import Judge, load_judge
from examples.small_model import judging
from examples.small_model.autoencoder import images_to_tensor

SCENES = [render_scene(seed) for seed in range(4)]


def test_the_loss_can_be_lowered() -> None:
    torch.manual_seed(0)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3)
    pixels = images_to_tensor(np.stack([scene.image for scene in SCENES]))
    losses = []
    for _ in range(8):
        loss = judging.judge_loss(judge(pixels), SCENES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_training_leaves_a_judge_and_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "TEST_SCENES", 10)
    monkeypatch.setattr(judging, "BATCH", 2)
    judging.train_judge(2, tmp_path, tmp_path / "judge.safetensors")
    assert '"miou"' in (tmp_path / "judge.jsonl").read_text(encoding="utf-8")
    assert len(load_judge(tmp_path / "judge.safetensors").look([SCENES[0].image])) == 1
