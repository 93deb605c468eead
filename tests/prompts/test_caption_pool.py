from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.prompts.dealing import deal, share_of
from diffumask_datasets.prompts.sources import caption_prompts, check_prompts, prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import SPLIT_STARTS

CAPTIONS = [f"{noun} number {number} beside a wall" for noun in ("a car", "two boats") for number in range(12)]


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*CAPTIONS, "a wall", "", CAPTIONS[0]]))
    return path


def recipe_of(path: Path, **fields: Any) -> Recipe:
    return Recipe.of(
        **{
            "classes": ["car", "boat"],
            "model": "planted",
            "prompt_source": {"kind": "captions", "path": str(path)},
            **fields,
        }
    )


def test_captions_are_balanced_by_class_and_keep_their_text(captions: Path) -> None:
    recipe = recipe_of(captions)
    prompts = [prompt_for(recipe, index) for index in range(100)]
    assert Counter(prompt.categories for prompt in prompts) == {("car",): 50, ("boat",): 50}
    assert {prompt.text for prompt in prompts} <= set(CAPTIONS)
    assert {prompt.text[term.start : term.end] for prompt in prompts for term in prompt.terms} == {"car", "boats"}
    assert prompt_for(recipe, 7) == prompts[7]


def test_each_caption_belongs_to_one_split(captions: Path) -> None:
    recipe = recipe_of(captions)
    texts = {
        split: {prompt_for(recipe, start + index).text for index in range(200)} for split, start in SPLIT_STARTS.items()
    }
    assert {split: len(found) for split, found in texts.items()} == {"train": 18, "validation": 4, "test": 2}
    assert len(set.union(*texts.values())) == 24


def test_three_texts_serve_three_splits() -> None:
    assert sorted(deal({"a": ["car"], "b": ["car"], "c": ["car"]}).values()) == ["test", "train", "validation"]
    assert set(deal({"one": ["car"], "two": ["boat"]}).values()) == {"train"}
    assert Counter(share_of(str(number)) for number in range(1000)).most_common(1)[0][0] == "train"


def test_all_prompts_are_those_that_may_be_drawn(captions: Path) -> None:
    recipe = recipe_of(captions)
    assert sorted(prompt.text for prompt in caption_prompts(recipe)) == sorted(CAPTIONS)
    assert {prompt_for(recipe, index) for index in range(40)} <= set(caption_prompts(recipe))
    assert [*caption_prompts(Recipe.of(classes=["car"], model="planted"))] == []


def test_several_classes_need_captions_that_name_them(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a car\na boat\na car beside a boat\n")
    recipe = recipe_of(path, classes_per_image=2)
    assert {prompt_for(recipe, index).text for index in range(10)} == {"a car beside a boat"}


def test_the_content_enters_the_digest_and_the_place_does_not(captions: Path, tmp_path: Path) -> None:
    recipe = prepare(recipe_of(captions))
    moved = tmp_path / "moved.txt"
    moved.write_bytes(captions.read_bytes())
    assert prepare(recipe_of(moved)).digest == recipe.digest
    moved.write_text("\n".join([*CAPTIONS, "a boat at sea"]))
    assert prepare(recipe_of(moved)).digest != recipe.digest
    assert Recipe.of(**recipe.model_dump(mode="json")).digest == recipe.digest


def test_captions_that_changed_are_refused(captions: Path) -> None:
    pinned = recipe_of(captions).pinned()
    captions.write_text("a car\na boat\n")
    with pytest.raises(RecipeError, match=r"the captions in .* have content '[0-9a-f]{16}', not '[0-9a-f]{16}'"):
        pinned.pinned()


def test_a_class_that_no_caption_names(captions: Path) -> None:
    recipe = recipe_of(captions, classes={"car": ["car"], "ship": ["ship", "vessel"]})
    with pytest.raises(
        RecipeError, match=r"no caption that can be used names the class 'ship' \(searched for: ship, vessel\)"
    ):
        check_prompts(recipe)
    with pytest.raises(RecipeError, match="names the class 'ship'"):
        prepare(recipe)


def test_a_split_without_captions(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a car\na boat\n")
    recipe = recipe_of(path)
    assert prompt_for(recipe, 0).text in ("a car", "a boat")
    with pytest.raises(RecipeError, match=r"is left for the split 'validation' .* give more captions"):
        prompt_for(recipe, SPLIT_STARTS["validation"])
    check_prompts(recipe)
    with pytest.raises(RecipeError, match="is left for the split 'test'"):
        check_prompts(recipe, ["train", "test"])
