"""Weights of classes from the scores of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.file import read_recipe_file
from diffumask_datasets.recipes.score_weights import weights_from_scores
from tests.helpers.command import diffumask_here


def scores(path: Path, **ious: Any) -> Path:
    classes = {name: {"iou": iou, "boundary_iou": 0.5} for name, iou in ious.items()}
    path.write_text(json.dumps({"miou": 0.5, "classes": classes}), encoding="utf-8")
    return path


def test_the_worst_class_weighs_most(tmp_path: Path) -> None:
    given = scores(tmp_path / "scores.json", background=0.99, car=0.9, boat=0.25, house=1.0)
    assert weights_from_scores(given, ["car", "boat", "house"]) == {"car": 0.1, "boat": 0.75, "house": 0.05}


def test_the_recipe_holds_them(tmp_path: Path) -> None:
    given = scores(tmp_path / "scores.json", car=0.9, boat=0.25)
    size = ["--set", "height=32", "--set", "width=32", "--set", "refinement=null"]
    command = ["generate", "car", "boat", "--num-samples", "8", "--model", "planted", "--output", "ds"]
    done = diffumask_here(*command, *size, "--weights-from", given.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_recipe_file(tmp_path / "ds" / "recipe.yaml")["class_weights"] == [0.1, 0.75]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"classes": {"car": {"iou": null}}}',
            r"has no IoU of 'car' \(it scores 'car'\): evaluate on images that show it",
        ),
        ('{"classes": {"boat": {"iou": 0.5}}}', r"has no IoU of 'car' \(it scores 'boat'\)"),
        ('{"classes": {"car": {"iou": 7}}}', "has no IoU of 'car'"),
        ("[]", "has no scores of classes: give the scores.json that diffumask evaluate --output writes"),
        ("{", "is not JSON"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        weights_from_scores(path, ["car"])


def test_weights_are_said_once(tmp_path: Path) -> None:
    given = scores(tmp_path / "scores.json", car=0.9)
    command = ["generate", "--model", "planted", "--output", "ds", "--weights-from", given.name]
    without = diffumask_here(*command, cwd=tmp_path)
    assert "--weights-from needs the classes: name them, or give a --config that does" in without.stderr
    twice = diffumask_here(*command, "car", "--set", "class_weights={car: 2}", cwd=tmp_path)
    assert "--weights-from and class_weights both say how often a class comes: give one of them" in twice.stderr
