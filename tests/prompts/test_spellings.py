"""However a class is spelt in what a user hands in, it is found, and its span lies in the text that the tokenizer reads."""

import random
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.captions import mentions, read_captions
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.text import normalise, word_key
from tests.helpers.byte_pairs import byte_pair_tokenizer
from tests.helpers.sentence_pieces import sentence_piece_tokenizer
from tests.helpers.spans import missed

CLASSES = ("ice-cream cone", "café table", "child's toy", "lane marking - general", "garçon_cap", "traffic light")
WORDS = tuple((name, name) for name in CLASSES)
BLANKS = (" ", "  ", "\t", "\u00a0", "\u2009")
JOINTS = (*BLANKS, "-", "_", "\u2010", "\u2011", "–", " - ", "\u00ad-")
APOSTROPHES = ("'", "\u2019", "\u02bc", "\u00b4", "\u2018", "\u2032")
KNOWN = ("a", "photo", "of", "cone", "table", "child", "light", "general", "traffic", "and")


@pytest.fixture(scope="module")
def tokenizers() -> list[Any]:
    return [
        byte_pair_tokenizer(tuple(f"{word}</w>" for word in KNOWN), model_max_length=512),
        sentence_piece_tokenizer(KNOWN, model_max_length=512),
    ]


def spelt(text: str, rng: random.Random, joints: tuple[str, ...]) -> str:
    """The text as somebody else, or another program, would have typed it."""
    text = "".join(rng.choice(joints) if sign in " -_" else sign for sign in text.replace(" - ", " "))
    text = "".join(rng.choice(APOSTROPHES) if sign == "'" else sign for sign in text)
    text = "".join(sign + "\u00ad" * (rng.random() < 0.05) for sign in text)
    text = rng.choice([str, str.upper, str.title])(text)
    return unicodedata.normalize(rng.choice(["NFC", "NFD"]), text)


@st.composite
def sentences(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the classes that it names, in order."""
    named = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3))
    rng = random.Random(draw(st.integers(0, 2**32)))
    spellings = [spelt(name, rng, JOINTS) for name in named]
    return spelt("a photo of ", rng, BLANKS) + " and\u00a0 ".join(spellings) + draw(
        st.sampled_from(["", "!", " "])
    ), named


def check_spans(text: str, found: list[tuple[str, int, int]], named: list[str]) -> None:
    assert [name for name, _, _ in found] == named
    for name, start, end in found:
        assert word_key(text[start:end]) == word_key(name)
        assert not any(sign.isspace() for sign in (text[start], text[end - 1]))


@given(sentences())
def test_any_spelling_of_a_class_is_found(sentence: tuple[str, list[str]]) -> None:
    text, named = sentence
    check_spans(text, mentions(text, WORDS), named)


@given(sentences())
def test_prompts_and_captions_become_the_same_text(
    tokenizers: list[Any], tmp_path_factory: pytest.TempPathFactory, sentence: tuple[str, list[str]]
) -> None:
    text, named = sentence
    file = tmp_path_factory.getbasetemp() / "captions.txt"
    file.write_text(text, encoding="utf-8")
    prompt = prompt_for(Recipe.of(classes=CLASSES, model="planted", prompts=[text]), 0)
    assert read_captions(str(file)) == (prompt.text,) == (normalise(text),)
    check_spans(prompt.text, [(term.category, term.start, term.end) for term in prompt.terms], named)
    assert [missed(prompt, tokenizer) for tokenizer in tokenizers] == [[], []]


def prompt_of(text: str, name: str) -> Prompt:
    return prompt_for(Recipe.of(classes=[name], model="planted", prompts=[text]), 0)


@pytest.mark.parametrize(
    ("name", "text", "span"),
    [
        ("ice-cream cone", "an ice cream cone", "ice cream cone"),
        ("ice cream cone", "two ice-cream cones", "ice-cream cones"),
        ("traffic_light", "a traffic light", "traffic light"),
        ("potted plant", "a potted  plant", "potted plant"),
        ("café", "a cafe\u0301 at night", "café"),
        ("cafe\u0301", "a café at night", "café"),
        ("child's toy", "a child\u2019s toy", "child's toy"),
        ("child\u2019s toy", "a child's toy", "child's toy"),
        ("fire hydrant", "a ﬁre hydrant", "ﬁre hydrant"),
    ],
)
def test_spellings_in_prompts(name: str, text: str, span: str) -> None:
    prompt = prompt_of(text, name)
    assert [prompt.text[term.start : term.end] for term in prompt.terms] == [span]


@pytest.mark.parametrize(("name", "text"), [("cafe", "a cafe\u0301 and a cafe"), ("cafe", "a café and a cafe")])
def test_a_letter_with_an_accent_is_another_letter(name: str, text: str) -> None:
    assert [term.start for term in prompt_of(text, name).terms] == [len("a café and a ")]


def test_spellings_of_a_prompt_are_one_recipe() -> None:
    spellings = ["a child's cafe\u0301 ", "a  child\u2019s café", "a child's\u00a0ca\u00adfé"]
    assert len({Recipe.of(classes=["café"], model="planted", prompts=[text]).digest for text in spellings}) == 1


def test_templates_leads_and_phrases_are_normalised() -> None:
    recipe = Recipe.of(
        classes={"cafe\u0301": {"terms": ["cafe\u0301  table"], "contexts": ["in a child\u2019s  room"]}},
        model="planted",
        prompt_source={"kind": "sub_classes", "styles": ["a  photo of {classes}"], "blank": 0},
    )
    assert recipe.classes == ("café",)
    assert prompt_for(recipe, 0).text == "a photo of a café table in a child's room"
    asked = Recipe.of(
        classes=["car"],
        model="planted",
        prompt_source={"kind": "language_model", "model": "m", "lead": "a  {classes} "},
    )
    assert asked.model_dump()["prompt_source"]["lead"] == "a {classes}"
