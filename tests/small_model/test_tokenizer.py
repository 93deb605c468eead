"""The tokenizer: whole words for captions, bytes for everything else, nothing unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from diffumask_datasets.toybox.scene import render_with_captions
from examples.small_model.tokenizer import END, MAX_LENGTH, START, build_tokenizer, split_word, word_merges
from tests.helpers.toybox_words import caption_words


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(caption_words())


@pytest.mark.parametrize("word", caption_words())
def test_every_caption_word_is_one_token(tokenizer: CLIPTokenizer, word: str) -> None:
    assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_captions_survive_the_round_trip(tokenizer: CLIPTokenizer) -> None:
    for seed in range(200):
        for caption in render_with_captions(seed, size=(16, 16))[1]:
            ids = tokenizer(caption).input_ids
            assert len(ids) <= MAX_LENGTH
            assert tokenizer.unk_token_id not in ids[1:-1]
            assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",").strip() == caption


@pytest.mark.parametrize("text", ["Überraschung", "potted plant", "日本", "tv monitor!", "x" * 20, "naïve 3½"])
def test_any_text_falls_into_known_pieces(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    plain = tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "")
    assert plain == text.lower().replace(" ", "")


def test_special_tokens(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a red car", padding="max_length").input_ids
    vocab = tokenizer.get_vocab()
    assert len(ids) == MAX_LENGTH
    assert ids[0] == vocab[START]
    assert set(ids[4:]) == {vocab[END]}


def test_saving_and_loading_keeps_the_ids(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again("a photo of two orange cups, é").input_ids == tokenizer("a photo of two orange cups, é").input_ids


def test_merges_do_not_break_each_other() -> None:
    words = ["house", "photo", "horse", "hop", "shop"]
    ranks = {pair: rank for rank, pair in enumerate(word_merges(words))}
    assert [split_word(word, ranks) for word in words] == [[f"{word}</w>"] for word in words]
