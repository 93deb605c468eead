"""Compositions painted over by a tiny pipeline that looks where it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffumask_datasets import generate
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_image
from diffumask_datasets.errors import ExportError, ModelError, RecipeError
from diffumask_datasets.generation.harmonize import harmonize
from diffumask_datasets.generation.label import label_folder
from tests.diffusion.conftest import pipeline_folder  # noqa: F401
from tests.generation.test_label import fields, save  # noqa: F401
from tests.generation.test_label import planted as looking
from tests.helpers.command import diffumask_here

CAR = 5
"""The token of the class in <start> a photo of a car."""


def region(rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


HERE, ELSEWHERE = region(slice(1, 4), slice(2, 7)), region(slice(5, 8), slice(0, 4))


@pytest.fixture
def labelled(tmp_path: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """One image with a car at :data:`HERE`."""
    save(tmp_path / "photos" / "one.png")
    (tmp_path / "photos" / "one.txt").write_text("a photo of a car\n")
    with looking(monkeypatch, CAR, HERE):
        label_folder(tmp_path / "photos", tmp_path / "ds", num_inference_steps=4, **fields)
    return tmp_path / "ds"


def row_of(folder: Path) -> dict[str, Any]:
    ((_, row),) = open_dataset(folder).rows()
    return row


def test_an_image_is_painted_over_where_its_objects_are_still_seen(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = row_of(labelled)
    with looking(monkeypatch, CAR, HERE, method="repaint"):
        for name in ("one", "same"):
            done = harmonize(labelled, tmp_path / name, strength=0.5, trust_recipe=True, device="cpu")
            assert str(done) == "1 painted over"
        harmonize(labelled, tmp_path / "other", strength=0.5, seed=1, trust_recipe=True, device="cpu")
    with looking(monkeypatch, CAR, ELSEWHERE, method="repaint"):
        command = ["harmonize", "ds", "--output", "gone", "--strength", "0.5", "--trust-recipe", "--device", "cpu"]
        done = diffumask_here(*command, cwd=tmp_path)
    assert (
        done.stdout
        == "wrote gone: 0 painted over; 1 stayed as they were, as the heat maps no longer agreed with the masks\n"
    )
    one, same, other, gone = (row_of(tmp_path / name) for name in ("one", "same", "other", "gone"))
    assert one == same
    images = [decode_image(row["image"]) for row in (before, one, other, gone)]
    assert (images[0] != images[1]).any()
    assert (images[1] != images[2]).any()
    assert np.array_equal(images[0], images[3])
    assert len({row["sample_id"] for row in (before, one, other)}) == 3
    changed = {name for name in before if before[name] != one[name]}
    assert changed == {"sample_id", "image"}
    written = open_dataset(tmp_path / "one").recipe_fields
    assert written is not None
    assert written["augmented"]["harmonized"] == {"strength": 0.5, "min_agreement": 0.7, "seed": 0}
    assert written["labelled"]["images"] == 1


def test_bad_input(labelled: Path, tmp_path: Path, planted: dict[str, Any]) -> None:
    generate(tmp_path / "fake", num_samples=1, **planted)
    cases: list[tuple[Path, dict[str, Any], type[Exception], str]] = [
        (labelled, {"strength": 0}, RecipeError, "strength: expected a number above 0 and up to 1, got 0"),
        (
            labelled,
            {"min_agreement": 1.5},
            RecipeError,
            "min_agreement: expected a number above 0 and up to 1, got 1.5",
        ),
        (labelled, {}, RecipeError, "names the local model .*, which is not followed"),
        (tmp_path / "fake", {}, ModelError, "the model 'planted' cannot paint over an image"),
    ]
    for source, options, error, message in cases:
        with pytest.raises(error, match=message):
            harmonize(source, tmp_path / "out", device="cpu", **options)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ExportError, match="is the source itself"):
        harmonize(labelled, labelled)
