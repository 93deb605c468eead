"""The span property: whatever a prompt is made of, real tokenizers find the tokens of its class terms."""

from typing import Any

import pytest

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.vocabulary import VOCABULARIES, load_vocabulary
from tests.helpers.byte_pairs import byte_pair_tokenizer
from tests.helpers.sentence_pieces import sentence_piece_tokenizer
from tests.helpers.spans import TEMPLATES, known_words, missed


@pytest.fixture(scope="module", params=["byte pairs", "sentence pieces"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "byte pairs":
        return byte_pair_tokenizer(tuple(f"{word}</w>" for word in known_words()), model_max_length=512)
    return sentence_piece_tokenizer(known_words(), model_max_length=512)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_class_in_every_template(vocabulary: str, tokenizer: Any) -> None:
    classes = load_vocabulary(vocabulary).classes
    prompts = [
        fill(template, [noun(entry.words, term=term)])
        for number, entry in enumerate(classes)
        for term in entry.words.terms
        for template in (TEMPLATES if number % 8 == 0 else TEMPLATES[number % 8 :: 8])
    ]
    assert len(prompts) > 2 * len(classes)
    assert [prompt.text for prompt in prompts if missed(prompt, tokenizer)] == []


def test_every_template_meets_every_class_somewhere() -> None:
    assert len(TEMPLATES) == 15


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_what_is_drawn(vocabulary: str, tokenizer: Any) -> None:
    recipe = Recipe.of(classes=vocabulary, model="me/sd", classes_per_image=2)
    assert [index for index in range(16) if missed(prompt_for(recipe, index), tokenizer)] == []


def test_a_long_prompt_keeps_an_early_term_and_refuses_a_late_one() -> None:
    tokenizer = byte_pair_tokenizer(("a</w>", "photo</w>", "of</w>", "dog</w>"), model_max_length=16)
    words = Recipe.of(classes=["dog"], model="me/sd").words_of("dog")
    early = fill("a photo of {classes}", [noun(words)], context="a photo " * 20)
    assert align_terms(early, tokenizer) == {"dog": (5,)}
    late = fill("a photo " * 20 + "of {classes}", [noun(words)])
    with pytest.raises(TokenAlignmentError, match=r"class term 'dog' is truncated away: .* this model reads 16"):
        align_terms(late, tokenizer)
