"""Samples in which the recipe's image-text model does not see a class are generated again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import SamConfig

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.label import label_folder
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.toybox import CLASS_NAMES
from tests.dataset.test_shards import files
from tests.helpers.small_models import SMALL_IMAGE_TEXT

PRESENCE: dict[str, Any] = {"presence": str(SMALL_IMAGE_TEXT), "max_attempts": 3}


def painted_as(name: str) -> dict[str, Any]:
    """Fields under which cars are painted and labelled as another class."""
    others = [other for other in CLASS_NAMES if other not in ("car", name)]
    classes = {name: [name, "car"], **{other: [other] for other in others}}
    return {"classes": classes, "prompts": ["a photo of a car"]}


def samples_of(store: Path, **fields: Any) -> GeneratedSamples:
    return GeneratedSamples(prepare(Recipe.of(**fields)), Runtime(store=store, device="cpu"))


def test_a_class_that_is_seen_is_accepted(tmp_path: Path) -> None:
    plain = dict(samples_of(tmp_path / "plain", classes=["car"]).rows(0, 1))
    judged = samples_of(tmp_path / "judged", classes=["car"], **PRESENCE)
    row = dict(judged.rows(0, 1))[0]
    assert judged.rejected == {}
    assert judged.recipe.presence_revision == fingerprint(SMALL_IMAGE_TEXT)
    assert {**row, "sample_id": ""} == {**plain[0], "sample_id": ""}


def test_a_class_that_is_not_seen_is_generated_again(tmp_path: Path) -> None:
    plain = dict(samples_of(tmp_path / "plain", **painted_as("flower")).rows(0, 2))
    judged = samples_of(tmp_path / "judged", **painted_as("flower"), **PRESENCE)
    rows = dict(judged.rows(0, 2))
    assert [row["seed"] == plain[index]["seed"] for index, row in rows.items()] == [False, True]
    assert judged.rejected.keys() == {"a class is not seen"}
    assert all(row["quality"] > 0.5 for row in rows.values())
    # to the byte, without its neighbour
    anew = samples_of(tmp_path / "anew", **painted_as("flower"), **PRESENCE)
    assert dict(anew.rows(0, 1)) == {0: rows[0]}


def test_a_hopeless_class_is_told_and_has_no_quality(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    judged = samples_of(tmp_path, **painted_as("star"), **{**PRESENCE, "max_attempts": 2})
    with caplog.at_level(logging.WARNING):
        row = dict(judged.rows(0, 1))[0]
    plain = dict(samples_of(tmp_path, **painted_as("star")).rows(0, 1))[0]
    assert judged.rejected == {"a class is not seen": 1}
    assert (row["seed"], row["label"], row["quality"]) == (plain["seed"], plain["label"], 0.0)
    assert f"{row['sample_id']}: the star looks more like " in caplog.text
    assert caplog.text.count("; its quality counts as 0") == 1


def test_nobody_is_asked_about_a_sample_without_masks(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffumask_datasets.generation.sample_generator.load_image_text", None)  # not callable
    judged = samples_of(tmp_path, **{**planted, "min_area": 0.99}, **PRESENCE)
    assert dict(judged.rows(0, 1))[0]["quality"] == 0.0
    assert judged.rejected == {"a class has no mask": 2}


def test_other_batches_reject_the_same(planted: dict[str, Any], tmp_path: Path, generated: Callable[[], int]) -> None:
    recipe = prepare(Recipe.of(**planted, **PRESENCE))
    alone = GeneratedSamples(recipe, Runtime(store=tmp_path / "alone"))
    list(alone.rows(0, 8))
    assert 8 < generated() < 24
    batches = GeneratedSamples(recipe, Runtime(batch_size=3, store=tmp_path / "batches"))
    list(batches.rows(0, 8))
    assert batches.rejected == alone.rejected
    assert files(tmp_path / "batches") == files(tmp_path / "alone")


def test_a_model_that_compares_nothing_is_refused_before_anything_is_generated(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    SamConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not compare images with texts; give a CLIP or SigLIP"):
        prepare(Recipe.of(**planted, presence=str(tmp_path), max_attempts=2))


def test_photographs_are_judged_after_they_are_labelled(planted: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="presence: label first, then run diffumask curate --presence"):
        label_folder(tmp_path, tmp_path / "out", **planted, **PRESENCE)
