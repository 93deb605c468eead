"""The refinement "sam" in a recipe: its defaults, its pin, what is refused, and what a stranger may name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.refinement_settings import SamRefinement
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.recipes.trust import check_trust


def recipe(**refinement: Any) -> Recipe:
    return Recipe.of(classes=["car"], model="planted", refinement={"kind": "sam", **refinement})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sam"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "sam"}), encoding="utf-8")
    return made


def test_the_name_alone_takes_the_defaults() -> None:
    named = Recipe.of(classes=["car"], refinement="sam")
    assert named.refinement == SamRefinement(model="facebook/sam2.1-hiera-tiny", min_agreement=0.6)
    assert Recipe.of(**named.model_dump()) == named
    assert named.digest != Recipe.of(classes=["car"]).digest
    assert recipe(points=1).digest != recipe(points=2).digest
    assert MaskSettings.subset_of(named).refinement == named.refinement


def test_content_counts_and_not_its_place(folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    one, other = recipe(model=str(folder)).pinned(), recipe(model=str(moved)).pinned()
    assert isinstance(one.refinement, SamRefinement)
    assert one.refinement.revision
    assert one.refinement != other.refinement
    assert one.digest == other.digest
    (moved / "model.safetensors").write_bytes(b"other weights")
    assert recipe(model=str(moved)).pinned().digest != one.digest
    changed = one.model_copy(update={"refinement": one.refinement.model_copy(update={"model": str(moved)})})
    with pytest.raises(ModelError, match=r"has content '.*', not the revision '.*'; use the same version"):
        changed.pinned()


def test_illegal_parameters_are_one_clear_line() -> None:
    with pytest.raises(RecipeError, match=r"^refinement\.sam\.point: Extra inputs are not permitted \(given: 1\)$"):
        recipe(point=1)
    with pytest.raises(RecipeError, match=r"^refinement\.sam\.min_agreement: .*less than or equal to 1 \(given: 2\)$"):
        recipe(min_agreement=2)


def test_a_stranger_names_segmenters_of_the_hub_alone(folder: Path) -> None:
    check_trust("the recipe of x", recipe().model_dump())
    with pytest.raises(RecipeError, match=r"the recipe of x names the local refinement model .*/sam'.*--trust-recipe"):
        check_trust("the recipe of x", recipe(model=str(folder)).model_dump())
