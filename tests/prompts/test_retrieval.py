from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.prompts.caption_pool import CaptionSource
from diffumask_datasets.prompts.retrieval import retrieve, usable
from diffumask_datasets.prompts.sources import check_prompts, pin_prompts, prompt_for
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.settings import RetrievalPrompts

CAPTIONS = [
    "a dog runs on the beach",
    "a wet beagle dog shakes itself on a lawn",
    "a dog",
    "a stock photo of a dog",
    "a cartoon dog",
    "close-up of a dog",
    "3D render of a dog",
    "the garden that we saw in the early morning light had a dog in it",
    "a dog " + "and more " * 25,
    "a red car in the street",
    "a car waits on the street in the rain",
    "an empty street",
]
DOG = {"dog": {"terms": ["dog"], "sub_classes": ["wet", "beagle"], "contexts": ["on a lawn"]}}


def settings_of(**fields: Any) -> RetrievalPrompts:
    return RetrievalPrompts(path="-", **fields)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a dog runs", True),
        ("a stock photo of a dog", False),
        ("close-up of a dog", False),
        ("A 3D dog", False),
        ("a stockings shop", True),
        ("dog " * 50, True),
        ("dog " * 51, False),
    ],
)
def test_the_filters_of_the_paper(text: str, kept: bool) -> None:
    assert usable(text, settings_of()) is kept


def test_the_nearest_captions_come_first_and_filtered_ones_never() -> None:
    recipe = Recipe.of(classes={**DOG, "car": ["car"]}, model="me/sd")
    found = retrieve(CAPTIONS, recipe, settings_of())
    assert found["dog"][0] == "a wet beagle dog shakes itself on a lawn"
    assert set(found["dog"]) == {CAPTIONS[0], CAPTIONS[1], CAPTIONS[2]}
    assert set(found["car"]) == {CAPTIONS[9], CAPTIONS[10]}
    assert retrieve(CAPTIONS, recipe, settings_of(per_class=1))["dog"] == [CAPTIONS[1]]


def test_the_class_stands_among_the_first_words() -> None:
    late = CAPTIONS[7]
    recipe = Recipe.of(classes=["dog"], model="me/sd")
    assert late not in retrieve(CAPTIONS, recipe, settings_of())["dog"]
    assert late in retrieve(CAPTIONS, recipe, settings_of(first_words=20))["dog"]


def test_as_a_prompt_source(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(CAPTIONS))
    recipe = Recipe.of(
        classes=["dog", "car"], model="me/sd", prompt_source={"kind": "retrieval", "path": str(path), "first_words": 4}
    )
    texts = {prompt_for(recipe, index).text for index in range(40)}
    assert texts <= {CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], CAPTIONS[9], CAPTIONS[10]}
    assert len(texts) >= 2


def test_a_class_that_retrieval_does_not_find(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a cartoon dog\n")
    recipe = Recipe.of(classes=["dog"], model="me/sd", prompt_source={"kind": "retrieval", "path": str(path)})
    with pytest.raises(RecipeError, match="no caption that can be used names the class 'dog'"):
        check_prompts(recipe)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny text encoder of CLIP's class, with random weights."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.attention.byte_pairs import byte_pair_tokenizer

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = byte_pair_tokenizer(("dog</w>", "car</w>", "a</w>", "photo</w>"), model_max_length=77)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    CLIPTextModel(config).save_pretrained(folder)
    return folder


def test_embeddings_of_a_checkpoint(encoder: Path, tmp_path: Path) -> None:
    from diffumask_datasets.prompts.text_models import embed

    query = "a photo of a dog"
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*CAPTIONS, query]))
    source = {"kind": "retrieval", "path": str(path), "encoder": str(encoder), "per_class": 2}
    recipe = pin_prompts(Recipe.of(classes=["dog"], model="me/sd", prompt_source=source))
    pool = CaptionSource(recipe, recipe.prompt_source)._pools["dog"]  # type: ignore[arg-type]
    candidates = [CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], query]
    vectors = embed([query, *candidates], str(encoder), None)
    assert vectors.shape == (5, 16)
    assert (vectors**2).sum(axis=1) == pytest.approx(1)
    nearest = sorted(candidates, key=lambda text: -float(vectors[0] @ vectors[1 + candidates.index(text)]))
    assert (pool[0], list(pool)) == (query, nearest[:2])
    assert len(recipe.prompt_source.encoder_revision) == 16  # type: ignore[union-attr]


def test_the_encoder_is_known_by_its_content(encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a dog\n")
    source = {"kind": "retrieval", "path": str(path), "encoder": str(encoder), "encoder_revision": "old"}
    with pytest.raises(ModelError, match=r"has content '[0-9a-f]{16}', not 'old'"):
        pin_prompts(Recipe.of(classes=["dog"], model="me/sd", prompt_source=source))
