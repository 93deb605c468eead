from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.sources import check_prompts, prompt_for
from diffumask_datasets.recipes.recipe import Recipe

WORDS = st.text("abcdefgh", min_size=1, max_size=6)


def test_the_default_prompt() -> None:
    prompt = prompt_for(Recipe.of(classes=["airplane"], model="me/sd"), 0)
    assert prompt.text == "a photo of an airplane"
    assert prompt.text[prompt.terms[0].start : prompt.terms[0].end] == "airplane"


def test_several_classes_in_one_template() -> None:
    recipe = Recipe.of(classes=["car", "boat"], classes_per_image=2, prompts=["{classes} at night"])
    assert prompt_for(recipe, 0).text in ("a car and a boat at night", "a boat and a car at night")


@given(
    classes=st.lists(WORDS, min_size=1, max_size=8, unique=True),
    index=st.integers(0, 10**7),
    seed=st.integers(0, 2**40),
    many=st.integers(1, 8),
)
def test_spans_hold_the_class_names(classes: list[str], index: int, seed: int, many: int) -> None:
    recipe = Recipe.of(classes=classes, seed=seed, classes_per_image=min(many, len(classes)), model="me/sd")
    prompt = prompt_for(recipe, index)
    assert [prompt.text[term.start : term.end] for term in prompt.terms] == [term.category for term in prompt.terms]
    assert len(set(prompt.categories)) == recipe.classes_per_image
    assert prompt_for(recipe, index) == prompt


def test_classes_are_balanced_in_every_block_and_shuffled() -> None:
    recipe = Recipe.of(classes=["car", "boat", "tree", "fish"])
    drawn = [prompt_for(recipe, index).categories[0] for index in range(400)]
    assert Counter(drawn) == {"car": 100, "boat": 100, "tree": 100, "fish": 100}
    assert len({tuple(drawn[first : first + 4]) for first in range(0, 400, 4)}) > 10


def test_captions_take_turns_and_keep_their_text() -> None:
    recipe = Recipe.of(classes=["car", "boat"], prompts=["two Cars and a boat", "a boat"])
    assert [prompt_for(recipe, index).text for index in range(3)] == [
        "two Cars and a boat",
        "a boat",
        "two Cars and a boat",
    ]


def test_a_caption_without_any_class() -> None:
    with pytest.raises(TokenAlignmentError, match=r"the prompt 'a carpet' names none of the classes \(car\)"):
        check_prompts(Recipe.of(classes=["car"], prompts=["a car", "a carpet"]))
