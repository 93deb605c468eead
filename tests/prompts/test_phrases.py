"""A class term with the modifiers before it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.prompts.phrases import MAX_MODIFIERS, with_phrases
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.prompts.wording import find_terms

WORDS = (("car", "car"), ("tv monitor", "tv monitor"), ("cup", "cup"))


def phrases(text: str) -> list[str]:
    widened = with_phrases(Prompt(text, find_terms(text, WORDS)))
    return [text[term.start : term.end] for term in widened.terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a car", ["car"]),
        ("a photo of a red car", ["red car"]),
        ("a rusty, old car", ["old car"]),
        ("red car and a blue cup on the left", ["red car", "blue cup"]),
        ("two red cars", ["red cars"]),
        ("car", ["car"]),
        ("An old-fashioned TV monitor", ["old-fashioned TV monitor"]),
        ("a very big shiny dark red car", ["shiny dark red car"]),
        ("a car cup", ["car", "cup"]),
        ("a photo of the cup in a car", ["cup", "car"]),
        ("a child's cup", ["child's cup"]),
    ],
)
def test_phrases(text: str, expected: list[str]) -> None:
    assert phrases(text) == expected


@given(st.lists(st.sampled_from(["a", "red", "big", "car", "cup", "on", "of", "old,", "wet"]), max_size=12))
def test_spans_only_grow_to_the_left_and_never_meet(words: list[str]) -> None:
    text = " ".join([*words, "car"])
    before = find_terms(text, WORDS)
    after = with_phrases(Prompt(text, before)).terms
    for old, new in zip(before, after, strict=True):
        assert (new.category, new.end) == (old.category, old.end)
        assert new.start <= old.start
        assert len(text[new.start : old.start].split()) <= MAX_MODIFIERS
    assert all(one.end <= other.start for one, other in itertools.pairwise(after))


def test_a_term_alone_stays_as_it_is() -> None:
    prompt = Prompt("red car", (Term("car", 0, 7),))
    assert with_phrases(prompt) == prompt
