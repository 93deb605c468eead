"""Preparing fills in what suits the model; the digests are those that these recipes have always had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.file import recipe_text
from diffumask_datasets.recipes.recipe import Recipe


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        ({"classes": ["car"]}, "6cbafef4e821"),
        ({"classes": "toybox"}, "8fb794d2c303"),
        ({"classes": ["car"], "height": 64, "width": 64}, "ff71f9f1e86d"),
        ({"classes": ["car", "boat"], "model": "planted"}, "d7015489cd37"),
        ({"classes": "voc:dog", "model": "planted"}, "79541541c2f6"),
        (
            {"classes": ["car", "boat"], "prompt_source": "sub_classes", "affinity": None, "augment": ["splice:2x2"]},
            "8c076222993a",
        ),
    ],
)
def test_digests_of_the_built_in_models(fields: dict[str, Any], digest: str) -> None:
    recipe = prepare(Recipe.of(**fields))
    assert recipe.digest == digest
    assert prepare(recipe) == recipe


def test_the_toybox_has_defaults_of_its_own() -> None:
    recipe = prepare(Recipe.of(classes=["car"]))
    assert (recipe.height, recipe.width, recipe.num_inference_steps, recipe.guidance_scale) == (128, 128, 8, 3.5)
    assert (recipe.attention_grids, recipe.attention_words, recipe.affinity) == ((16,), "phrase", "self-attention")


def test_a_scene_that_its_classes_cover_is_read_without_favour_to_small_ones() -> None:
    recipe = prepare(Recipe.of(classes=["car", "boat"], background=None))
    assert (recipe.competition, recipe.heat_normalization, recipe.threshold) == (0.0, None, 0.5)
    own = prepare(Recipe.of(classes=["car", "boat"], background=None, threshold="otsu", competition=2.0))
    assert (own.competition, own.threshold) == (2.0, "otsu")
    usual = prepare(Recipe.of(classes=["car", "boat"]))
    assert (usual.heat_normalization, usual.threshold) == ("local", "adaptive")


def test_a_written_recipe_holds_the_values() -> None:
    text = recipe_text(prepare(Recipe.of(classes=["car"])), sizes={"train": 1}, keep_heat_maps=False)
    assert "height: 128\n" in text
    assert "num_inference_steps: 8\n" in text
    assert "null" not in text.partition("height:")[2].partition("negative_prompt")[0]


def test_backgrounds_are_known_by_their_content(planted: dict[str, Any], tmp_path: Path) -> None:
    def prepared(folder: Path) -> Recipe:
        return prepare(Recipe.of(**planted, augment={"kind": "compose", "backgrounds": str(folder)}))

    (tmp_path / "streets").mkdir()
    Image.new("RGB", (90, 50), "grey").save(tmp_path / "streets" / "one.png")
    before = prepared(tmp_path / "streets")
    (tmp_path / "streets").rename(tmp_path / "elsewhere")
    assert prepared(tmp_path / "elsewhere").digest == before.digest
    Image.new("RGB", (90, 50), "white").save(tmp_path / "elsewhere" / "two.png")
    assert prepared(tmp_path / "elsewhere").digest != before.digest
    (tmp_path / "elsewhere" / "one.png").rename(tmp_path / "elsewhere" / "my boats.png")
    with pytest.raises(RecipeError, match=r"my boats\.png mentions the class 'boat'"):
        prepared(tmp_path / "elsewhere")


def test_a_prepared_composition_has_the_co_occurrence_of_its_recipe(planted: dict[str, Any]) -> None:
    pairs = (("boat", "car", 1.0), ("car", "boat", 2.0))
    recipe = prepare(Recipe.of(**planted, co_occurrence=pairs, augment=["blur", "compose:4"]))
    assert [step.co_occurrence for step in recipe.augment if step.kind == "compose"] == [pairs]
    assert prepare(recipe) == recipe
