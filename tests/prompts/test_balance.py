from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.recipes.recipe import Recipe

CLASSES = ["car", "boat", "tree", "fish"]


def test_weights_are_kept_in_every_hundred() -> None:
    recipe = Recipe.of(classes=CLASSES, class_weights={"car": 3, "fish": 0})
    for start in (0, 100, 90_000_000):
        drawn = Counter(draw_classes(recipe, start + index)[0] for index in range(100))
        assert drawn == {"car": 60, "boat": 20, "tree": 20}


def test_small_weights_come_in_the_long_run() -> None:
    recipe = Recipe.of(classes=["car", "boat"], class_weights=[0.999, 0.001])
    drawn = Counter(draw_classes(recipe, index)[0] for index in range(20_000))
    assert 8 <= drawn["boat"] <= 34  # 20 expected


def test_companions_follow_co_occurrence() -> None:
    recipe = Recipe.of(
        classes=CLASSES, classes_per_image=2, co_occurrence={"car": {"tree": 9, "boat": 1}, "boat": {"fish": 1}}
    )
    pairs = Counter(tuple(draw_classes(recipe, index)) for index in range(800))
    assert set(pairs) == {("car", "tree"), ("car", "boat"), ("boat", "fish"), ("tree",), ("fish",)}
    assert 150 < pairs["car", "tree"] < 200


def test_co_occurrence_is_counted_in_captions(tmp_path: Any) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a car by two trees\na car and a boat\ntree, car\nnothing\n")
    recipe = Recipe.of(classes=["car", "boat", "tree"], classes_per_image=2, co_occurrence=str(path))
    assert recipe.co_occurrence == (
        ("boat", "car", 1.0),
        ("car", "boat", 1.0),
        ("car", "tree", 2.0),
        ("tree", "car", 2.0),
    )
    assert Recipe.of(**recipe.model_dump(mode="json")) == recipe
    pq.write_table(pa.table({"text": path.read_text().splitlines()}), tmp_path / "captions.parquet")
    column = {"path": str(tmp_path / "captions.parquet"), "column": "text"}
    again = Recipe.of(classes=["car", "boat", "tree"], classes_per_image=2, co_occurrence=column)
    assert again.co_occurrence == recipe.co_occurrence


def test_captions_in_which_no_two_classes_meet(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a car\na boat\n")
    with pytest.raises(RecipeError, match=r"co_occurrence: no caption of '.*' names two of the classes"):
        Recipe.of(classes=CLASSES, classes_per_image=2, co_occurrence=str(path))


def test_classes_are_known_in_any_spelling_of_blanks_and_accents() -> None:
    fields = {
        "classes": ["café", "tv set"],
        "class_weights": {"cafe\u0301": 3},
        "co_occurrence": {"tv  set": {"cafe\u0301": 2}},
    }
    recipe = Recipe.of(**fields)
    assert (recipe.class_weights, recipe.co_occurrence) == ((3, 1), (("tv set", "café", 2),))


def test_equal_weights_are_no_weights() -> None:
    plain = Recipe.of(classes=CLASSES).digest
    assert Recipe.of(classes=CLASSES, class_weights=[2, 2, 2, 2], co_occurrence={}).digest == plain
    assert Recipe.of(classes=CLASSES, class_weights={"car": 2}).digest != plain


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_weights": [1, 2]}, r"class_weights: expected 4 numbers from 0 up, not all 0, got \[1\.0, 2\.0\]"),
        ({"class_weights": [1, 2, -1, 1]}, "class_weights: expected 4 numbers from 0 up"),
        ({"class_weights": [0, 0, 0, 0]}, "from 0 up, not all 0"),
        ({"class_weights": {"cat": 1}}, r"'cat' is none of the classes \(did you mean 'car'\?\)"),
        ({"co_occurrence": {"car": {"dog": 1}}}, r"expected two different classes .* got \['car', 'dog', 1\.0\]"),
        ({"co_occurrence": {"car": 3}}, "co_occurrence: expected {class: {other class: weight}}"),
        ({"co_occurrence": "none.txt"}, r"no captions at 'none\.txt'"),
        ({"co_occurrence": 3}, "or the path of captions to count in, alone or as {path: …, column: …}; got 3"),
        ({"co_occurrence": ["car"]}, r"co_occurrence: expected .* got \['car'\]"),
        ({"co_occurrence": {"path": "a.txt", "colum": "b"}}, "colum: Extra inputs are not permitted"),
        ({"co_occurrence": [["car", "boat", 1], ["car", "boat", 2]]}, r"\['car', 'boat'\] is given twice"),
    ],
)
def test_bad_input(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.of(classes=CLASSES, **fields)
