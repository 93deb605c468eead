"""The judge: shapes, and a file that holds all of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffumask_datasets.errors import ModelError
from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, COLOURS, render_scene
from diffumask_datasets.toybox.judge import Judge, load_judge, save_judge

SCENES = [render_scene(seed) for seed in range(4)]
IMAGES = [scene.image for scene in SCENES]


def test_an_opinion_covers_every_pixel_and_name() -> None:
    opinion = Judge()(torch.zeros(2, 3, 64, 96))
    assert opinion.pixels.shape == (2, 11, 64, 96)
    assert opinion.classes.shape == (2, len(CLASS_NAMES))
    assert opinion.colours.shape == (2, len(COLOURS))
    assert opinion.background.shape == (2, len(BACKGROUNDS))


def test_the_file_holds_all_of_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Judge()
    judge(torch.randn(4, 3, 64, 64))  # moves the running statistics, which belong to the weights
    save_judge(judge.half().float().state_dict(), tmp_path / "judge.safetensors")
    again = load_judge(tmp_path / "judge.safetensors")
    for mine, theirs in zip(judge.look(IMAGES), again.look(IMAGES), strict=True):
        np.testing.assert_array_equal(mine.label, theirs.label)
        assert (mine.best_class, mine.best_colour, mine.background) == (
            theirs.best_class,
            theirs.best_colour,
            theirs.background,
        )
        assert mine.classes == theirs.classes


def test_no_judge_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no judge at .*: install the package again, or train one with"):
        load_judge(tmp_path / "judge.safetensors")


def test_weights_of_another_net_are_no_judge(tmp_path: Path) -> None:
    weights = Judge().state_dict()
    weights["pixels.0.weight"] = weights["pixels.0.weight"][:4]
    del weights["whole.0.bias"]
    save_judge(weights, tmp_path / "judge.safetensors")
    with pytest.raises(
        ModelError, match=r"1 missing \(whole\.0\.bias\), 1 of another shape \(pixels\.0\.weight\); the file is damaged"
    ):
        load_judge(tmp_path / "judge.safetensors")
    (tmp_path / "judge.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"the judge at .* is damaged"):
        load_judge(tmp_path / "judge.safetensors")
