import re
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.errors import RecipeError, UnknownClassError
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.resolve import resolve_classes
from diffumask_datasets.recipes.vocabulary import (
    VOCABULARIES,
    ClassWords,
    Vocabulary,
    load_vocabulary,
    places,
    styles,
)
from diffumask_datasets.toybox import CLASS_NAMES, COLOURS
from diffumask_datasets.toybox.captions import PLACES
from tests.helpers.toybox_words import caption_words

HOMONYMS = """
aeroplane apple bar barrel base basket bat bench blind box bridge cabinet canopy case column counter cup fan field fork
glass hood keyboard kite light monitor mouse orange palm path pier plant plate pole pot radiator remote rock runway screen
seat shower sink step stool tank tie washer
"""
"""Official names that a text model reads as something else."""


def all_classes() -> list[tuple[Vocabulary, Any]]:
    return [(load_vocabulary(name), entry) for name in VOCABULARIES for entry in load_vocabulary(name).classes]


def test_sizes_and_kinds() -> None:
    counted = {
        name: (len(classes), sum(entry.kind == "thing" for entry in classes))
        for name in VOCABULARIES
        for classes in [load_vocabulary(name).classes]
    }
    assert counted == {
        "ade20k": (150, 100),
        "cityscapes": (19, 8),
        "coco": (80, 80),
        "toybox": (10, 10),
        "voc": (20, 20),
    }


def test_official_ids() -> None:
    ids = {name: [entry.id for entry in load_vocabulary(name).classes] for name in VOCABULARIES}
    assert ids["voc"] == list(range(1, 21))
    assert ids["ade20k"] == list(range(1, 151))
    assert ids["cityscapes"] == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert sorted(set(range(1, 91)) - set(ids["coco"])) == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert ids["coco"] == sorted(ids["coco"])


def voc_colour(class_id: int) -> tuple[int, ...]:
    """The official colour map: bit 3n + channel of the id becomes bit 7 - n of the channel."""
    return tuple(sum(((class_id >> (3 * n + channel)) & 1) << (7 - n) for n in range(3)) for channel in range(3))


def test_voc_colours_follow_the_official_map() -> None:
    assert {entry.id: entry.color for entry in load_vocabulary("voc").classes} == {
        k: voc_colour(k) for k in range(1, 21)
    }


@pytest.mark.parametrize(
    ("vocabulary", "name", "class_id", "color"),
    [
        ("cityscapes", "road", 7, (128, 64, 128)),
        ("cityscapes", "rider", 25, (255, 0, 0)),
        ("cityscapes", "bicycle", 33, (119, 11, 32)),
        ("coco", "person", 1, (220, 20, 60)),
        ("coco", "stop sign", 13, (220, 220, 0)),
        ("coco", "toothbrush", 90, (191, 162, 208)),
        ("ade20k", "wall", 1, (120, 120, 120)),
        ("ade20k", "chest of drawers", 45, (6, 51, 255)),
        ("ade20k", "flag", 150, (92, 0, 255)),
    ],
)
def test_ids_and_colours_of_the_others(vocabulary: str, name: str, class_id: int, color: tuple[int, ...]) -> None:
    entry = load_vocabulary(vocabulary).class_named(name)
    assert (entry.id, entry.color) == (class_id, color)


def test_forty_sub_classes_for_voc_and_the_things_of_cityscapes() -> None:
    asked = list(load_vocabulary("voc").classes)
    asked += [entry for entry in load_vocabulary("cityscapes").classes if entry.kind == "thing"]
    assert len(asked) == 28
    assert {entry.name: len(entry.words.sub_classes) for entry in asked if len(entry.words.sub_classes) < 40} == {}


@pytest.mark.parametrize(("name", "things"), [("voc", 20), ("cityscapes", 8)])
def test_forty_are_left_where_all_classes_are_asked_for(name: str, things: int) -> None:
    """Those that name another class of the recipe are never drawn."""
    recipe = Recipe.of(classes=name, model="me/sd")
    left = {
        entry.name: sum(
            {category for category, _, _ in mentions(text, recipe.words)} <= {entry.name}
            for text in entry.words.sub_classes
        )
        for entry in load_vocabulary(name).classes
        if entry.kind == "thing"
    }
    assert len(left) == things
    assert {thing: count for thing, count in left.items() if count < 40} == {}


def test_every_class_has_terms_sub_classes_and_contexts() -> None:
    poor = [
        (vocabulary.name, entry.name)
        for vocabulary, entry in all_classes()
        if len(entry.words.sub_classes) < 3 or len(entry.words.contexts) < 10 or not entry.words.terms
    ]
    assert poor == []


def test_homonyms_get_a_term_that_says_what_is_meant() -> None:
    found = [
        (entry.name, entry.words.terms[0], entry.note)
        for vocabulary, entry in all_classes()
        if vocabulary.name != "toybox" and entry.name in HOMONYMS.split()  # a drawn cup has no second meaning
    ]
    assert len(found) == 50
    assert [name for name, term, _ in found if name == term] == []
    assert {name for name, _, note in found if not note} == set()


@pytest.mark.parametrize(
    ("reference", "term"),
    [("coco/mouse", "computer mouse"), ("coco/tie", "necktie"), ("coco/orange", "orange fruit")],
)
def test_named_homonyms(reference: str, term: str) -> None:
    vocabulary, _, name = reference.partition("/")
    assert load_vocabulary(vocabulary).class_named(name).words.terms[0] == term


def test_texts_are_clean() -> None:
    texts = [
        text
        for _, entry in all_classes()
        for text in (*entry.words.words, *entry.words.sub_classes, *entry.words.contexts)
    ]
    assert [text for text in texts if not re.fullmatch(r"[A-Za-z][A-Za-z' -]*[a-z]|[A-Z]{2,4}", text)] == []
    assert all(style.count("{classes}") == 1 for style in styles())


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ("car", ["car"]),
        (["car", "boat"], ["car", "boat"]),
        ({"vehicle": ["car", "boat"]}, ["vehicle"]),
        ("voc:dog, bird", ["dog", "bird"]),
        ("potted plant", ["potted plant"]),
    ],
)
def test_what_classes_may_be(classes: Any, names: list[str]) -> None:
    assert [words.name for words in resolve_classes(classes)] == names


def test_a_vocabulary_by_name() -> None:
    resolved = resolve_classes("voc")
    assert len(resolved) == 20
    assert (resolved[0].name, resolved[0].terms) == ("aeroplane", ("airplane", "aeroplane"))


def test_a_mapping_gives_terms_or_whole_entries() -> None:
    simple, whole, liked = resolve_classes(
        {
            "vehicle": ["car", " motor  boat"],
            "dog": {"terms": "dog", "sub_classes": ["wet"], "places": ["pets"]},
            "hound": {"like": "voc/dog", "terms": ["hound"]},
        }
    )
    assert resolve_classes({"cabbage": {"like": "coco/broccoli"}})[0].mass
    assert simple == ClassWords("vehicle", ("car", "motor boat"))
    assert whole.sub_classes == ("wet",)
    assert whole.contexts == places("pets")
    assert (liked.terms, liked.sub_classes) == (
        ("hound",),
        load_vocabulary("voc").class_named("dog").words.sub_classes,
    )


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "pets.yaml"
    path.write_text("classes:\n- {id: 3, name: dog, terms: [dog], contexts: [on a lawn], mass: false}\n- cat\n")
    vocabulary = load_vocabulary(path)
    assert (vocabulary.name, vocabulary.names) == ("pets", ("dog", "cat"))
    assert [entry.id for entry in vocabulary.classes] == [3, 2]
    assert resolve_classes(str(path))[0].contexts == ("on a lawn",)


def test_a_class_may_give_two_spellings_of_a_word(tmp_path: Path) -> None:
    path = tmp_path / "food.yaml"
    path.write_text("classes: [{name: ice cream, also: [ice-cream]}]")
    assert load_vocabulary(path).classes[0].words.words == ("ice cream", "ice-cream")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [{id: 1, name: a}, {id: 1, name: b}]", "the id 1 is given 2 times"),
        ("classes: [{id: 0, name: a}]", r"a: id: Input should be greater than or equal to 1 \(given: 0\)"),
        ("classes: [{id: 255, name: a}]", r"a: id: Input should be less than or equal to 254 \(given: 255\)"),
        ("classes: [{id: true, name: a}]", r"a: id: Input should be a valid integer \(given: True\)"),
        ("classes: [{name: a}, {name: A}]", "the name 'a' is given 2 times"),
        ("classes: [{name: a, also: [c]}, {name: b, terms: [C]}]", "the word 'c' is given 2 times"),
        ("classes: [{name: hot dog}, {name: b, also: [hot-dog]}]", "the word 'hot dog' is given 2 times"),
        ("classes: [{name: a, terms: []}]", "class 'a' has no terms"),
        ("classes: [{name: a, terms: [' ']}]", "class 'a': one of its terms is empty"),
        (
            "classes: [{name: a, terms: [on]}]",
            r"a: terms: expected texts \(YAML reads yes, no, .* \(given: \[True\]\)",
        ),
        ("classes: [{name: a, kind: animal}]", r"a: kind: Input should be 'thing' or 'stuff' \(given: 'animal'\)"),
        (
            "classes: [{name: a, color: [1, 2]}]",
            r"a: color: expected \[red, green, blue\] in 0\.\.255 \(given: \[1, 2\]\)",
        ),
        ("classes: [{name: a, colour: [1, 2, 3]}]", r"unknown field 'colour' \(did you mean 'color'\?\)"),
        ("classes: [{name: a, places: [streets]}]", r"unknown places 'streets' \(did you mean 'street'\?\)"),
        ("classes: [{name: a, like: dog}]", "a: like: expected a class of ade20k, .*, voc, e.g. voc/dog, got 'dog'"),
        ("classes: [{name: a, like: own.yaml/a}]", "a: like: expected a class of ade20k, .*, got 'own.yaml/a'"),
        ("classes: [{name: a, like: voc/brid}]", r"the vocabulary 'voc' has no class 'brid' \(did you mean 'bird'\?\)"),
        ("classes: [{name: a, mass: 'no'}]", r"a: mass: Input should be a valid boolean \(given: 'no'\)"),
        (
            "classes: [{name: a, color: [true, 2, 3]}]",
            r"color: expected \[red, green, blue\] in .* \[True, 2, 3\]",
        ),
        ("classes: [{id: 1}]", "class 1: expected a mapping with a name"),
        ("classes: []", "expected a list of classes"),
        ("- a", "expected a list of classes"),
        ("a: [", "is not plain YAML"),
    ],
)
def test_a_file_with_a_fault(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_vocabulary(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("vocs", r"unknown vocabulary 'vocs' \(did you mean 'voc'\?\); .* write classes=\['vocs'\]"),
        ("cityscape", r"unknown vocabulary 'cityscape' \(did you mean 'cityscapes'\?\)"),
        ("voc:brid", r"the vocabulary 'voc' has no class 'brid' \(did you mean 'bird'\?\)"),
        ({"car": []}, "class 'car' has no terms: give at least one word"),
        ({"car": None}, "class 'car' has no terms"),
        ({"car": 3}, "class 'car': expected its terms"),
        ({"car": {"id": 0}}, "class 'car': unknown field 'id'; legal fields: also, contexts, like, "),
        (3, "give names, a vocabulary such as 'voc', or a mapping"),
        ("none.yaml", r"cannot read the vocabulary none\.yaml"),
    ],
)
def test_classes_that_mean_nothing(classes: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve_classes(classes)


def test_an_unknown_vocabulary_is_an_unknown_class_too() -> None:
    with pytest.raises(
        UnknownClassError, match=r"unknown vocabulary 'vok' .*there are: ade20k, cityscapes, coco, toybox, voc"
    ):
        load_vocabulary("vok")


def test_the_toybox_is_the_drawn_world() -> None:
    vocabulary = load_vocabulary("toybox")
    assert vocabulary.ids == {name: number for number, name in enumerate(CLASS_NAMES, start=1)}
    for entry in vocabulary.classes:
        assert entry.words.sub_classes == tuple(COLOURS)
        assert set(entry.words.contexts) == {phrase for phrases in PLACES.values() for phrase in phrases}
    words = {word for text in (*styles("toybox"), *places("toybox")) for word in text.split()}
    assert words - {"{classes}"} <= set(caption_words())


def test_styles_of_a_model_are_its_own() -> None:
    assert styles("toybox") != styles()
    assert styles("me/model") == styles()
    assert Recipe.of(classes="toybox").prompt_source.styles == styles("toybox")  # type: ignore[union-attr]
    assert Recipe.of(classes="voc", model="me/model").prompt_source.styles == styles()  # type: ignore[union-attr]
