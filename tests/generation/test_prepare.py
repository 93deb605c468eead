"""Preparing fills in what suits the model; the digests are those that these recipes have always had."""

from __future__ import annotations

from typing import Any

import pytest

from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.file import recipe_text
from diffumask_datasets.recipes.recipe import Recipe


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        ({"classes": ["car"]}, "b436923e0d0e"),
        ({"classes": "toybox"}, "eacbd03c581c"),
        ({"classes": ["car"], "height": 64, "width": 64}, "9ce29a6eb75e"),
        ({"classes": ["car", "boat"], "model": "planted"}, "d7015489cd37"),
        ({"classes": "voc:dog", "model": "planted"}, "79541541c2f6"),
        (
            {"classes": ["car", "boat"], "prompt_source": "sub_classes", "affinity": None, "augment": ["splice:2x2"]},
            "8fcb93991067",
        ),
    ],
)
def test_digests_of_the_built_in_models(fields: dict[str, Any], digest: str) -> None:
    recipe = prepare(Recipe.of(**fields))
    assert recipe.digest == digest
    assert prepare(recipe) == recipe


def test_the_toybox_has_defaults_of_its_own() -> None:
    recipe = prepare(Recipe.of(classes=["car"]))
    assert (recipe.height, recipe.width, recipe.num_inference_steps, recipe.guidance_scale) == (128, 128, 20, 3.5)
    assert (recipe.attention_grids, recipe.attention_words, recipe.affinity) == ((16,), "phrase", "self-attention")


def test_a_written_recipe_holds_the_values() -> None:
    text = recipe_text(prepare(Recipe.of(classes=["car"])), sizes={"train": 1}, keep_heat_maps=False)
    assert "height: 128\n" in text
    assert "num_inference_steps: 20\n" in text
    assert "null" not in text.partition("height:")[2].partition("negative_prompt")[0]
