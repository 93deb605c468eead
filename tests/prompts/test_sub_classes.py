from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.prompts.prompt import Term
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import SPLIT_STARTS
from diffumask_datasets.recipes.vocabulary import ClassWords

VOC = Recipe.of(classes="voc", model="me/sd")
DOG = ClassWords("dog", ("dog",), ("retriever",), ("wet", "golden retriever"))


@pytest.mark.parametrize(
    ("sub_class", "text", "term"),
    [
        ("", "a photo of a dog", "dog"),
        ("wet", "a photo of a wet dog", "dog"),
        ("angry", "a photo of an angry dog", "dog"),
        ("golden retriever", "a photo of a golden retriever", "retriever"),
    ],
)
def test_a_sub_class_and_its_span(sub_class: str, text: str, term: str) -> None:
    prompt = fill("a photo of {classes}", [noun(DOG, sub_class=sub_class)])
    assert prompt.text == text
    assert [text[term.start : term.end] for term in prompt.terms] == [term]


@pytest.mark.parametrize(
    "said",
    [
        *("a one-eyed cat", "a utility pole", "a used car", "a unicorn", "a European bison", "a U-shaped sofa", "a TV"),
        *("an L-shaped sofa", "an LED lamp", "an SUV", "an hourglass", "an unmade bed", "an urban bus", "an e-bike"),
        *("an orange boat", "an umbrella", "a BMX bicycle", "a horse", "an ultrawide monitor"),
    ],
)
def test_articles_go_by_the_sound(said: str) -> None:
    _, _, name = said.partition(" ")
    assert noun(ClassWords(name, (name,)))[0] == said


def test_masses_have_no_article_and_contexts_follow() -> None:
    prompt = fill("{classes}, seen", [noun(ClassWords("grass", ("grass",), mass=True)), noun(DOG)], context="at night")
    assert (prompt.text, prompt.terms) == ("grass and a dog, seen at night", (Term("grass", 0, 5), Term("dog", 12, 15)))


def test_a_vocabulary_brings_its_sub_classes() -> None:
    assert VOC.prompt_source.kind == "sub_classes"
    assert Recipe.of(classes="voc", prompts="a photo of {classes}", model="me/sd").prompt_source.kind == "templates"
    assert Recipe.of(classes=["dog"], model="me/sd").prompt_source.kind == "templates"


@given(index=st.integers(0, 10**7), count=st.integers(1, 4))
def test_spans_hold_terms_and_no_other_class_is_named(index: int, count: int) -> None:
    recipe = VOC.model_copy(update={"classes_per_image": count})
    prompt = prompt_for(recipe, index)
    assert prompt_for(recipe, index) == prompt
    assert len(prompt.categories) == count
    named = {name for name, _, _ in mentions(prompt.text, recipe.words)}
    assert named == set(prompt.categories)
    for term in prompt.terms:
        said = prompt.text[term.start : term.end].lower()
        assert said.removesuffix("s") in {
            word.removesuffix("s").lower() for word in recipe.words_of(term.category).words
        }


def test_prompts_differ_and_some_are_plain() -> None:
    texts = [prompt_for(VOC, index).text for index in range(1000)]
    assert len(set(texts)) > 980
    contexts = [text for text in texts if " in " in text or " on " in text or " at " in text]
    assert 600 < len(contexts) < 900


def test_the_splits_share_no_prompt() -> None:
    texts = {
        split: {prompt_for(VOC, start + index).text for index in range(300)} for split, start in SPLIT_STARTS.items()
    }
    assert not texts["train"] & texts["validation"]
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]


def test_few_combinations_are_shared() -> None:
    recipe = Recipe.of(classes={"dog": {"sub_classes": ["wet"], "contexts": ["at night"]}}, model="me/sd")
    source = recipe.model_copy(
        update={"prompt_source": recipe.prompt_source.model_copy(update={"styles": ("{classes}",)})}
    )
    drawn = Counter(prompt_for(source, SPLIT_STARTS["validation"] + index).text for index in range(200))
    assert set(drawn) == {"a dog", "a wet dog", "a dog at night", "a wet dog at night"}
    assert drawn["a wet dog at night"] > 100  # 0.8 * 0.8 of them


def test_a_context_that_names_another_class_is_left_out() -> None:
    recipe = Recipe.of(
        classes={"dog": {"contexts": ["on a sofa", "at night"]}, "sofa": ["sofa"]},
        prompt_source={"kind": "sub_classes", "blank": 0.0, "styles": ["{classes}"], "contexts": ["in a hall"]},
        model="me/sd",
    )
    assert {prompt_for(recipe, index).text for index in range(20)} == {"a dog at night", "a sofa in a hall"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"prompt_source": {"kind": "sub_classes", "styles": ["a photo"]}},
            r"the style 'a photo' needs \{classes\} exactly",
        ),
        ({"prompt_source": {"kind": "sub_classes", "blank": 2}}, "blank: Input should be less than or equal to 1"),
        (
            {"prompt_source": "subclasses"},
            r"unknown prompt source 'subclasses' \(did you mean 'sub_classes'\?\); there are: 'templates', 'sub_classes', ",
        ),
        ({"prompt_source": {}}, r"prompt_source: name its kind \(given: {}\)"),
        ({"prompt_source": 3}, r"prompt_source: expected a text or a mapping \(given: 3\)"),
        ({"prompt_source": "captions"}, "path: Field required"),
        (
            {"prompt_source": "sub_classes", "prompts": ["{classes}!"]},
            "prompts are not used by prompt_source 'sub_classes'",
        ),
    ],
)
def test_bad_settings(fields: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.of(classes=["dog"], **fields)
