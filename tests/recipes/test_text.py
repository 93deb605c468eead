import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.exporters.classes import normal
from diffumask_datasets.recipes.text import fold, normalise, word_key
from diffumask_datasets.segmentation.labelled import plain_name


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (" a \t photo\u00a0of\na  car ", "a photo of a car"),
        ("cafe\u0301", "café"),
        ("a child\u2019s toy, a child\u00b4s toy, a child\u02bcs toy", "a child's toy, a child's toy, a child's toy"),
        ("ice\u2010cream, ice\u2011cream, ice\u2212cream", "ice-cream, ice-cream, ice-cream"),
        ("pot\u00adted\ufeff pl\u200bant", "potted plant"),
        ("e\u200b\u0301", "é"),
        ("cars – boats — “trees”, Straße, ½ №", "cars – boats — “trees”, Straße, ½ №"),
    ],
)
def test_the_normal_form(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text())
def test_the_normal_form_of_any_text_is_composed_and_stays_as_it_is(text: str) -> None:
    normal = normalise(text)
    assert normalise(normal) == normal
    assert unicodedata.is_normalized("NFC", normal)


@pytest.mark.parametrize(
    "spelling",
    [
        "ice-cream cone",
        "Ice cream  cone",
        "ICE_CREAM_CONE",
        "ice\u2010cream\u2011cone",
        "ice–cream - cone",
        " ice-cream cone ",
    ],
)
def test_spellings_of_one_word(spelling: str) -> None:
    assert word_key(spelling) == "ice cream cone"


@pytest.mark.parametrize("other", ["icecream cone", "ice—cream cone", "ice, cream cone", "ice-cream cones"])
def test_other_words(other: str) -> None:
    assert word_key(other) != "ice cream cone"


def test_folding_knows_where_each_character_stood() -> None:
    text = "Cafe\u0301  –  ﬁre"
    folded = fold(text)
    assert folded.text == "café fire"
    assert [text[slice(*folded.span(place, place + 1))] for place in range(9)] == [
        *("C", "a", "f", "e\u0301", "  –  "),
        *("ﬁ", "ﬁ", "r", "e"),
    ]


@given(st.text())
def test_folding_any_text_covers_it_in_order(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    assert list(folded.starts) == sorted(folded.starts)
    assert all(0 <= start < end <= len(text) for start, end in zip(folded.starts, folded.ends, strict=True))


@pytest.mark.parametrize("comparing", [normal, plain_name])
def test_exports_and_trainings_know_a_class_in_any_spelling(comparing: Callable[[str], str]) -> None:
    assert comparing("Cafe\u0301_table") == comparing("café\u2011table") == comparing("CAFÉTABLE") == "cafétable"
    assert comparing("child\u2019s toy") == comparing("Child's-Toy")
