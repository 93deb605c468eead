from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.prompts.caption_pool import CaptionSource
from diffumask_datasets.prompts.retrieval import refusal, retrieve
from diffumask_datasets.prompts.sources import check_prompts, prompt_for
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.prompt_settings import RetrievalPrompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.vocabulary import ClassWords

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


def retrieved(captions: list[str], classes: Any, **fields: Any) -> dict[str, list[str]]:
    recipe = Recipe.of(classes=classes, model="planted")
    return retrieve({text: mentions(text, recipe.words) for text in captions}, recipe, settings_of(**fields))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a dog runs", None),
        ("a stock photo of a dog", "stop_words"),
        ("close-up of a dog", "stop_words"),
        ("close up of a dog", "stop_words"),
        ("A 3D dog", "stop_words"),
        ("a stockings shop dog", None),
        ("dog " * 50, None),
        ("dog " * 51, "max_words"),
        ("one two three four five six seven eight nine dog", None),
        ("one two three four five six seven eight nine ten dog", "first_words"),
    ],
)
def test_the_filters_of_the_paper(text: str, reason: str | None) -> None:
    words = ClassWords("dog", ("dog",))
    assert refusal(text, mentions(text, (("dog", "dog"),)), words, settings_of()) == reason


def test_stop_words_of_ones_own_in_any_case_and_of_several_words() -> None:
    captions = ["a dog in Black and White", "a black dog", "a white dog"]
    found = retrieved(captions, ["dog"], stop_words="Black  and white")
    assert sorted(found["dog"]) == ["a black dog", "a white dog"]


def test_a_class_that_is_a_stop_word_is_found() -> None:
    captions = ["a toy on a shelf", "a poster of a dog", "a toy dog", "a cartoon toy"]
    found = retrieved(captions, {"dog": ["dog"], "toy": ["wooden toy", "toy"]})
    assert {name: set(texts) for name, texts in found.items()} == {
        "dog": set(),
        "toy": {"a toy on a shelf", "a toy dog"},
    }


def test_a_longer_name_is_not_taken_for_the_shorter_in_it() -> None:
    captions = ["a hot dog on a plate", "a dog on a lawn", "a teddy bear", "a bear in a forest"]
    found = retrieved(captions, ["dog", "hot dog", "bear", "teddy bear"])
    assert found == {
        "dog": ["a dog on a lawn"],
        "hot dog": ["a hot dog on a plate"],
        "bear": ["a bear in a forest"],
        "teddy bear": ["a teddy bear"],
    }


def test_the_nearest_captions_come_first_and_filtered_ones_never() -> None:
    classes = {**DOG, "car": ["car"]}
    found = retrieved(CAPTIONS, classes)
    assert found["dog"][0] == "a wet beagle dog shakes itself on a lawn"
    assert set(found["dog"]) == {CAPTIONS[0], CAPTIONS[1], CAPTIONS[2]}
    assert set(found["car"]) == {CAPTIONS[9], CAPTIONS[10]}
    assert retrieved(CAPTIONS, classes, per_class=1)["dog"] == [CAPTIONS[1]]


def test_the_class_stands_among_the_first_words() -> None:
    late = CAPTIONS[7]
    assert late not in retrieved(CAPTIONS, ["dog"])["dog"]
    assert late in retrieved(CAPTIONS, ["dog"], first_words=20)["dog"]


def test_as_a_prompt_source(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(CAPTIONS))
    recipe = Recipe.of(
        classes=["dog", "car"],
        model="planted",
        prompt_source={"kind": "retrieval", "path": str(path), "first_words": 4},
    )
    texts = {prompt_for(recipe, index).text for index in range(40)}
    assert texts <= {CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], CAPTIONS[9], CAPTIONS[10]}
    assert len(texts) >= 2


def test_a_class_that_retrieval_does_not_find(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a cartoon dog\na dog in a logo\n" + "very " * 10 + "old dog\n")
    recipe = Recipe.of(classes=["dog"], model="planted", prompt_source={"kind": "retrieval", "path": str(path)})
    message = r"names the class 'dog' \(searched for: dog; stop_words refuses 2; first_words refuses 1\); give more"
    with pytest.raises(RecipeError, match=message):
        check_prompts(recipe)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny text encoder of CLIP's class, with random weights."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.helpers.byte_pairs import byte_pair_tokenizer

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
    recipe = Recipe.of(classes=["dog"], model="planted", prompt_source=source).pinned()
    pool = CaptionSource(recipe, recipe.prompt_source)._pools["dog"]  # type: ignore[arg-type]
    candidates = [CAPTIONS[0], CAPTIONS[1], CAPTIONS[2], query]
    vectors = embed([query, *candidates], str(encoder), None)
    assert vectors.shape == (5, 16)
    assert (vectors**2).sum(axis=1) == pytest.approx(1)
    nearest = sorted(candidates, key=lambda text: -float(vectors[0] @ vectors[1 + candidates.index(text)]))
    assert (pool[0], list(pool)) == (query, nearest[:2])
    assert len(recipe.prompt_source.encoder_revision) == 16  # type: ignore[union-attr]


def test_each_term_is_asked_for_with_its_article(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are one unit vector each but for the caption of an automobile, which is the query for that term."""
    asked: list[str] = []

    def embed(texts: list[str], model: str, revision: str | None) -> np.ndarray:
        asked.extend(texts)
        near = {"a photo of an automobile": 1, "an automobile": 1}
        return np.eye(len(texts) + 2, dtype=np.float32)[[near.get(text, n + 2) for n, text in enumerate(texts)]]

    monkeypatch.setattr("diffumask_datasets.prompts.text_models.embed", embed)
    captions = ["a car", "an automobile", "a boat", "a stock car"]
    found = retrieved(captions, {"car": ["car", "automobile"], "ship": ["ship"]}, encoder="me/encoder")
    assert found == {"car": ["an automobile", "a car"], "ship": []}
    assert asked == ["a photo of a car", "a photo of an automobile", "a car", "an automobile"]


def test_what_is_no_text_encoder(tmp_path: Path, encoder: Path) -> None:
    """A vision model, beside a tokenizer that would do."""
    from transformers import AutoTokenizer, ViTConfig, ViTModel

    from diffumask_datasets.prompts.text_models import embed

    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path)
    ViTModel(
        ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="gives no features of texts, choose a text encoder") as caught:
        embed(["a dog"], str(tmp_path), None)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_an_encoder_decoder_model(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    from diffumask_datasets.prompts.text_models import embed
    from tests.helpers.sentence_pieces import sentence_piece_tokenizer

    tokenizer = sentence_piece_tokenizer(("dog", "car"), model_max_length=16)
    tokenizer.save_pretrained(tmp_path)
    T5Model(
        T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)
    vectors = embed(["a dog", "a car", "a dog " * 40], str(tmp_path), None)
    assert vectors.shape == (3, 16)
    assert (vectors**2).sum(axis=1) == pytest.approx(1)


def test_the_encoder_is_known_by_its_content(encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_text("a dog\n")
    source = {"kind": "retrieval", "path": str(path), "encoder": str(encoder), "encoder_revision": "old"}
    with pytest.raises(ModelError, match=r"has content '[0-9a-f]{16}', not the revision 'old'"):
        Recipe.of(classes=["dog"], model="planted", prompt_source=source).pinned()
