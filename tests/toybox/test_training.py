"""Training sees image-caption pairs alone; schedules, resume and checkpoints hold."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffumask_datasets.toybox as toybox
from diffumask_datasets.toybox.denoiser import DenoiserRun, Settings, draw_timesteps
from diffumask_datasets.toybox.latents import PHRASINGS, LatentPool, caption_tokens
from diffumask_datasets.toybox.pairs import image_and_captions
from diffumask_datasets.toybox.tokenizer import MAX_LENGTH, build_tokenizer
from diffumask_datasets.toybox.training import Averaged, Budget, Team, learning_rate, load_checkpoint, save_checkpoint

FOLDER = Path(toybox.__file__).parent
WORLD = {"scene", "layout", "shapes", "shapes_made", "shapes_grown", "pen", "backgrounds", "captions", "world", "pairs"}
MEASURING = {"judge", "judging", "progress", "rendered"}
TRAINING = sorted(path for path in FOLDER.glob("*.py") if path.stem not in WORLD | MEASURING | {"__init__"})
FORBIDDEN = {"semantic", "instances", "objects", "instance_id", "render_scene", "render_with_captions", "Scene"}


def names_in(source: str) -> set[str]:
    """Every name, attribute and imported name of a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names} | set((node.module or "").split(".")[-1:])
    return found


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_training_never_names_a_mask(path: Path) -> None:
    names = names_in(path.read_text())
    assert not names & FORBIDDEN
    assert not names & ({"scene", "layout", "masks"} | MEASURING)


def test_the_mask_check_can_fail() -> None:
    assert names_in("from diffumask_datasets.toybox.scene import render_scene") & FORBIDDEN
    assert names_in("x = scene.semantic") & FORBIDDEN


def test_training_modules_are_all_covered() -> None:
    assert {"autoencoder", "latents", "denoiser", "model", "train", "training"} <= {path.stem for path in TRAINING}


def test_a_pair_is_an_image_and_captions_and_nothing_else() -> None:
    pair = image_and_captions(4, size=(32, 32), phrasings=3)
    assert len(pair) == 2
    image, captions = pair
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert len(captions) == 3
    assert all(type(caption) is str for caption in captions)


def test_learning_rate_warms_up_and_decays() -> None:
    assert learning_rate(1.0, step=0, share=0.0, warm_up=10) == pytest.approx(0.1)
    assert learning_rate(1.0, step=100, share=0.5, warm_up=10) == pytest.approx(0.505)
    assert learning_rate(1.0, step=100, share=1.0, warm_up=10) == pytest.approx(0.01)


def test_budget_counts_earlier_runs() -> None:
    assert Budget(1.0, spent_s=30.0).share == pytest.approx(0.5, abs=0.01)
    assert Budget(1.0, spent_s=90.0).share == 1.0


def test_timesteps_cover_the_schedule() -> None:
    steps = draw_timesteps(4000, torch.Generator().manual_seed(0))
    assert steps.min() >= 0
    assert steps.max() <= 999
    assert steps.float().mean().item() == pytest.approx(560, abs=20)
    assert (steps < 50).float().mean() < 0.05


def test_average_follows_the_weights() -> None:
    module = torch.nn.Linear(2, 2)
    average = Averaged(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1.0)
    before = average.values["weight"].clone()
    average.update(module, 1000)
    assert torch.allclose(average.values["weight"], before + 0.5)


def test_checkpoints_replace_each_other_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.pt"
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 2}
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def tiny_run() -> DenoiserRun:
    tokenizer = build_tokenizer()
    generator = torch.Generator().manual_seed(0)
    tokens = caption_tokens(["a red car", "two cups"] * PHRASINGS, tokenizer).view(2, PHRASINGS, MAX_LENGTH)
    pool = LatentPool(torch.randn(2, 8, 16, 16, generator=generator).half(), tokens.to(torch.int16))
    settings = Settings(batch=2, fresh=0, unet={"block_out_channels": (16, 16, 16)})
    return DenoiserRun(Team(), pool, tokenizer, settings)


def flat_state(run: DenoiserRun) -> torch.Tensor:
    values: list[Any] = [*run.painter.state_dict().values(), *run.average.state().values()]
    return torch.cat([value.float().reshape(-1) for value in values])


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = tiny_run(), tiny_run(), tiny_run()
    for step in range(4):
        whole.train_step(step / 4)
    for step in range(2):
        first.train_step(step / 4)
    save_checkpoint(tmp_path / "denoiser.pt", first.state(12.0))
    second.restore(load_checkpoint(tmp_path / "denoiser.pt"))
    for step in range(2, 4):
        second.train_step(step / 4)
    assert (second.step, second.images_seen) == (4, 8)
    assert torch.equal(flat_state(whole), flat_state(second))
    assert not torch.equal(flat_state(whole), flat_state(first))


def test_pool_grows_by_what_is_added() -> None:
    pool = tiny_run().pool
    pool.add(pool.latents[:1], pool.tokens[:1])
    latents, tokens = pool.draw(5, torch.Generator().manual_seed(1))
    assert len(pool.latents) == 3
    assert latents.shape == (5, 8, 16, 16)
    assert tokens.shape == (5, MAX_LENGTH)
