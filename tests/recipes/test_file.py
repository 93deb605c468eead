from pathlib import Path

import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.file import read_recipe_file, recipe_text
from diffumask_datasets.recipes.recipe import Recipe


def test_what_is_written_is_read(tmp_path: Path) -> None:
    recipe = Recipe.of(classes=["car", "Fußgänger"], threshold="otsu", refinement=None)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe, sizes={"train": 3}, keep_heat_maps=True), encoding="utf-8")
    fields = read_recipe_file(path)
    assert (fields.pop("splits"), fields.pop("keep_heat_maps")) == ({"train": 3}, True)
    assert fields.pop("keep_threshold_curve") is False
    assert Recipe.of(**fields) == recipe


def test_words_sources_and_augmentations_come_back(tmp_path: Path) -> None:
    recipe = Recipe.of(classes="voc:bird,person", model="me/sd", augment=["splice:2x2", "blur"], class_weights=[1, 2])
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe, sizes={"train": 3}, keep_heat_maps=False), encoding="utf-8")
    assert len(path.read_text().splitlines()) < 120
    fields = read_recipe_file(path)
    for name in ("splits", "keep_heat_maps", "keep_threshold_curve"):
        del fields[name]
    assert Recipe.of(**fields) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- car\n", "expected fields like 'classes: [car, boat]', got list"),
        ("a: [", "is not plain YAML"),
        ("a: !!python/object/apply:os.system ['echo']", "is not plain YAML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message.replace("[", r"\[").replace("]", r"\]")):
        read_recipe_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*none\.yaml"):
        read_recipe_file(tmp_path / "none.yaml")
