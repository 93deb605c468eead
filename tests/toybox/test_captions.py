"""Captions say nothing that is not in the picture, and every word of theirs is one token."""

from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, COLOURS
from diffumask_datasets.toybox.captions import NUMBERS, PLACES, PLURALS, Mention, write_caption
from diffumask_datasets.toybox.scene import Scene, render_with_captions
from tests.helpers.toybox_words import caption_words

SCENES = [render_with_captions(seed, size=(32, 32), phrasings=6) for seed in range(150)]
SINGULARS = {plural: name for name, plural in PLURALS.items() if plural != name}


def words_of(caption: str) -> list[str]:
    return caption.replace(",", " ,").split()


@pytest.mark.parametrize(("scene", "captions"), SCENES)
def test_captions_are_honest(scene: Scene, captions: tuple[str, ...]) -> None:
    there = {(item.colour, item.class_name) for item in scene.objects}
    for caption in captions:
        words = words_of(caption)
        for before, word in zip(["", *words], words, strict=False):
            name = SINGULARS.get(word, word)
            if name in CLASS_NAMES:
                assert name in {item.class_name for item in scene.objects}, caption
                if before in COLOURS:
                    assert (before, name) in there, caption
        assert all(
            phrase not in caption
            for background, phrases in PLACES.items()
            if background != scene.background
            for phrase in phrases
        ), caption


@pytest.mark.parametrize(("scene", "captions"), SCENES[:60])
def test_captions_name_every_object(scene: Scene, captions: tuple[str, ...]) -> None:
    numbers = {word: count for count, word in NUMBERS.items()}
    for caption in captions:
        count = 1
        named: list[str] = []
        for word in words_of(caption):
            if word in numbers or word in ("a", "an"):
                count = numbers.get(word, 1)
            if SINGULARS.get(word, word) in CLASS_NAMES:
                named += [SINGULARS.get(word, word)] * count
        assert sorted(named) == sorted(item.class_name for item in scene.objects), caption


def test_captions_use_known_words_only() -> None:
    known = set(caption_words())
    assert {word for _, captions in SCENES for caption in captions for word in words_of(caption)} <= known


def test_product_phrasings_are_common() -> None:
    captions = [caption for _, captions in SCENES for caption in captions]
    assert sum(caption.startswith("a photo of ") for caption in captions) > 0.5 * len(captions)
    assert any(caption == f"a photo of a {name}" for name in CLASS_NAMES for caption in captions)
    assert set(PLACES) == set(BACKGROUNDS)


def test_places_are_where_they_say() -> None:
    left, right = Mention("star", "white", 0.2, 0.5), Mention("tree", "green", 0.8, 0.55)
    captions = {write_caption([left, right], "sea", np.random.default_rng(seed)) for seed in range(400)}
    assert "a photo of a star to the left of a tree" in captions
    assert "a photo of a green tree to the right of a white star at sea" in captions
    assert not any("star to the right" in caption or "tree to the left" in caption for caption in captions)
    assert not any("above" in caption or "below" in caption for caption in captions)


def test_articles_and_plurals() -> None:
    pair = [Mention("cup", "orange", 0.5, 0.5), Mention("cup", "orange", 0.5, 0.6)]
    captions = {write_caption(pair, "wood", np.random.default_rng(seed)) for seed in range(200)}
    assert "a photo of two orange cups on wood" in captions
    single = {write_caption(pair[:1], "wood", np.random.default_rng(seed)) for seed in range(200)}
    assert "a photo of an orange cup" in single
    assert not any("a orange" in caption for caption in single)
