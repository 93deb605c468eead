"""What a search is given: images with the attention of their terms or of the noun phrases around them."""

from __future__ import annotations

import numpy as np

from diffumask_datasets.attention.search import AttentionChoice
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.generation.attention_search import Tuning, annotated_rows, rendered_scenes
from diffumask_datasets.prompts.phrases import with_phrases
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.toybox import render_scene


def attended(prompt: Prompt) -> list[str]:
    return [prompt.text[term.start : term.end] for term in prompt.terms]


def test_rendered_scenes_come_with_the_words_asked_for() -> None:
    terms, phrases = list(rendered_scenes(4)), list(rendered_scenes(4, attention_words="phrase"))
    for seed, (one, other) in enumerate(zip(terms, phrases, strict=True)):
        scene = render_scene(seed, split="validation")
        assert np.array_equal(one.image, scene.image)
        assert np.array_equal(other.label, scene.semantic)
        assert one.prompt.text == scene.caption
        assert set(one.prompt.categories) == {found.class_name for found in scene.objects}
        assert other.prompt == with_phrases(one.prompt)
    assert phrases[1].prompt != terms[1].prompt  # a white boat


def test_the_fields_leave_nothing_to_the_defaults_of_the_model() -> None:
    """A model other than the toybox has ``attention="auto"`` and self-attention where a recipe says nothing."""
    nothing = np.empty(0)
    for choice, expected in (
        (AttentionChoice(("a",), (1, 5)), {"attention": "equal", "affinity": None}),
        (
            AttentionChoice(("a",), (1, 5), affinity_power=2, attention="auto"),
            {"attention": "auto", "affinity": "self-attention", "affinity_power": 2},
        ),
    ):
        fields = Tuning(choice, {"a": (8, 8)}, {}, (), nothing, nothing.astype(bool)).recipe_fields
        assert {name: fields[name] for name in expected} == expected
        assert ("affinity_power" in fields) == ("affinity_power" in expected)


def test_rows_come_with_the_words_asked_for() -> None:
    image, label = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
    row = {"prompt": "a rusty  red car", "image": png_cell(image), "label": png_cell(label)}
    for words, expected in (("class", "car"), ("phrase", "rusty red car")):
        (given,) = annotated_rows([row], ["car"], attention_words=words)
        assert attended(given.prompt) == [expected]
        assert given.classes == ("car",)
        assert np.array_equal(given.label, label)
