"""Stability of masks under a mirrored image: a tiny pipeline that always looks at the same place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.flipping import flip_judge
from diffumask_datasets.generation.label import label_folder
from tests.diffusion.conftest import pipeline_folder  # noqa: F401
from tests.generation.test_label import fields, planted, save  # noqa: F401
from tests.helpers.command import diffumask_here


@pytest.mark.parametrize(("columns", "expected"), [((2, 6), 1.0), ((0, 4), 0.0)], ids=["symmetric", "left"])
def test_a_mask_that_does_not_turn_with_its_image_is_found(
    columns: tuple[int, int],
    expected: float,
    tmp_path: Path,
    fields: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Attention that stays where it was, whatever the image shows, follows a mirrored image only within its symmetry."""
    save(tmp_path / "photos" / "one.png")
    (tmp_path / "photos" / "one.txt").write_text("a photo of a red car\n")
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[2:6, columns[0] : columns[1]] = True
    with planted(monkeypatch, 6, region):  # <start> a photo of a red car
        label_folder(tmp_path / "photos", tmp_path / "ds", **fields)
        with pytest.raises(RecipeError, match=r"names the local model .*, which is not followed"):
            flip_judge(tmp_path / "ds")
        judge = flip_judge(tmp_path / "ds", trust_recipe=True, device="cpu")
        ((_, row),) = open_dataset(tmp_path / "ds").rows()
        found = judge(row)
        command = ["curate", "ds", "--output", "clean", "--folds", "0", "--flip", "--trust-recipe"]
        done = diffumask_here(*command, cwd=tmp_path)
    assert found == {1: pytest.approx(expected, abs=0.12)}
    if expected:
        assert done.returncode == 0, done.stderr
        (line,) = (tmp_path / "clean" / "opinions.jsonl").read_text().splitlines()
        assert json.loads(line)["flip"] == pytest.approx(found[1], abs=1e-4)
    else:
        assert "all 1 samples of ds would be rejected: mirrored, the image has another car: IoU" in done.stderr
