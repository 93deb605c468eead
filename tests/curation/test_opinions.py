"""Second opinions: whether a class is seen where its mask is, and whether a segmenter confirms the mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from datasets import load_dataset
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, SamConfig

from diffumask_datasets.curation import opinions
from diffumask_datasets.curation.curate import curate
from diffumask_datasets.curation.opinions import ConceptAgreement, Heard, Presence, Question, SegmenterAgreement
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.masks.concepts import Concept, load_concept_segmenter
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.segmentation import image_text
from tests.helpers.made_datasets import made_row
from tests.helpers.segmenters import TrueSegmenter, save_tiny_concept_segmenter, save_tiny_segmenter
from tests.helpers.tiny_models import vocabularies
from tests.helpers.vision_language import save_tiny_vision_language

COLOURS = {"car": (200, 30, 30), "potted plant": (30, 200, 30), "boat": (30, 30, 200), "background": (128, 128, 128)}
TERMS = ("car", "potted plant", "boat")


class ColourModel:
    """Sees the class whose colour the middle of an image has."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []

    def compare(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts.append(list(texts))
        middle = image[image.shape[0] // 2, image.shape[1] // 2].astype(float)
        names = [text.removeprefix("a photo of a ") for text in texts]
        return np.array([-np.abs(middle - COLOURS[name]).sum() / 40 for name in names], np.float32)


def row_with(*things: tuple[str, str, tuple[int, int, int, int]]) -> dict[str, Any]:
    """A grey image with boxes, each coloured as one class and labelled as another."""
    image, label = np.full((60, 80, 3), 128, np.uint8), np.zeros((60, 80), np.uint8)
    for seen, labelled, (top, left, bottom, right) in things:
        image[top:bottom, left:right] = COLOURS[seen]
        label[top:bottom, left:right] = TERMS.index(labelled) + 1
    return {**made_row(label, []), "image": png_cell(image)}


def presence() -> Presence:
    model: Any = ColourModel()
    return Presence(model, TERMS)


def test_a_class_that_looks_like_itself_is_present() -> None:
    judge = presence()
    heard = judge.about(row_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (20, 50, 50, 75))))
    assert heard.objection is None
    assert heard.score > 0.9
    model: Any = judge.model
    # classes that are labelled too are no rivals
    assert model.texts[0] == ["a photo of a car", "a photo of a potted plant", "background"]


@pytest.mark.parametrize("seen", ["boat", "background"])
def test_a_class_that_looks_like_something_else_is_not(seen: str) -> None:
    heard = presence().about(row_with((seen, "car", (10, 10, 40, 40))))
    assert heard.score < 0.1
    assert heard.objection is not None
    assert heard.objection.startswith(f"the car looks more like {seen} (")
    assert heard.objection.endswith(f"than like car ({heard.score:.2f})")


@pytest.mark.parametrize(("odds", "objects"), [(8.0, False), (7.0, True)])
def test_something_else_must_be_so_much_likelier(odds: float, objects: bool) -> None:
    class Torn:
        def compare(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.log(np.array([0.1, 0.75, 0.15], np.float32))  # 7.5 times as likely a potted plant

    model: Any = Torn()
    row = row_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (10, 50, 40, 75)))
    heard = Presence(model, TERMS, odds=odds).about(row)
    assert heard.score == pytest.approx(0.1)
    assert (heard.objection is not None) is objects


def test_one_class_that_is_missing_is_enough() -> None:
    heard = presence().about(row_with(("car", "car", (10, 10, 40, 40)), ("background", "boat", (20, 50, 50, 75))))
    assert str(heard.objection).startswith("the boat looks more like background")


def test_a_segmenter_confirms_or_denies_masks() -> None:
    row = row_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (20, 50, 50, 75)))
    truth = np.zeros((60, 80), int)
    truth[10:40, 10:40], truth[20:50, 50:75] = 1, 2
    segmenter: Any = TrueSegmenter(truth)
    heard = SegmenterAgreement(segmenter, TERMS).about(row)
    assert (heard.score, heard.objection) == (1.0, None)
    truth[20:50, 50:75], truth[20:50, 50:80] = 0, 2
    truth[0:60, 60:80] = 2
    heard = SegmenterAgreement(segmenter, TERMS).about(row)
    # 750 pixels of the mask, in 1,500 of what is found: 30 rows of 10 and 60 rows of 20
    assert heard.score == pytest.approx(0.5)
    assert heard.objection == "a segmenter sees another boat: IoU 0.50 with its mask"
    assert SegmenterAgreement(segmenter, TERMS, least=0.4).about(row).objection is None
    with pytest.raises(RecipeError, match=r"the least agreement lies in \[0, 1\], got 1.5"):
        SegmenterAgreement(segmenter, TERMS, least=1.5)


def test_a_mask_too_small_to_ask_about_is_left_alone() -> None:
    segmenter: Any = TrueSegmenter(np.zeros((60, 80), int))
    assert SegmenterAgreement(segmenter, TERMS).about(row_with(("car", "car", (10, 10, 12, 12)))).score == 1.0


class TrueConcepts:
    """Finds of each name what it is told to find."""

    def __init__(self, **found: Concept) -> None:
        self.found = found

    def find(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> list[Concept]:
        return [self.found[text] for text in texts]


def test_what_is_found_by_name_confirms_or_denies_masks() -> None:
    row = row_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (20, 50, 50, 75)))
    car, boat = np.zeros((60, 80), np.float32), np.zeros((60, 80), np.float32)
    car[10:40, 10:40], boat[20:50, 50:75] = 0.9, 0.9

    def heard(**found: Concept) -> Heard:
        segmenter: Any = TrueConcepts(**found)
        return ConceptAgreement(segmenter, TERMS).about(row)

    assert heard(car=Concept(car, 0.9), boat=Concept(boat, 0.8)) == Heard(1.0)
    absent = heard(car=Concept(car, 0.9), boat=Concept(boat, 0.3))
    assert absent == Heard(0.0, "no boat is found by its name (presence 0.30)")
    car[10:40, 25:40] = 0.1
    half = heard(car=Concept(car, 0.9), boat=Concept(boat, 0.8))
    assert half == Heard(0.5, "by its name, another car is found: IoU 0.50 with its mask")


class Yea:
    """Says yes to cars."""

    def agrees(self, image: npt.NDArray[np.uint8], question: str) -> float:
        return 0.75 if question == "Is there a car in this image? Answer with yes or no." else 0.25


def test_a_class_to_which_the_answer_is_no_is_missing() -> None:
    model: Any = Yea()
    car = row_with(("car", "car", (10, 10, 40, 40)))
    both = row_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (20, 50, 50, 75)))
    assert Question(model, TERMS).about(car) == Heard(0.75)
    assert Question(model, TERMS).about(both) == Heard(0.25, "asked for a boat, the model says no (yes: 0.25)")


def tiny_clip(folder: Path) -> str:
    side = {"image_size": 32, "patch_size": 16}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = vocabularies.clip()
    text = {**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config={**small, **side}, projection_dim=8)).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return str(folder)


def test_clip_compares_an_image_with_texts(tmp_path: Path) -> None:
    model = image_text.load_image_text(tiny_clip(tmp_path / "clip"), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    fit = model.compare(image, ["a photo of a car", "background"])
    assert fit.shape == (2,)
    np.testing.assert_allclose(fit[:1], model.compare(image, ["a photo of a car"]), atol=1e-5)


def test_models_that_compare_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no image-text model 'nothing': give an existing folder or a Hub id"):
        image_text.load_image_text("nothing")
    SamConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"the image-text model .* cannot be loaded: "):
        image_text.load_image_text(str(tmp_path))
    with pytest.raises(ModelError, match=r"\(model_type 'sam'\) finds nothing by its name; give a checkpoint of SAM 3"):
        load_concept_segmenter(str(tmp_path))


@pytest.fixture
def dataset(planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four samples, of which the image-text model objects to the last."""

    def about(judge: Presence, row: Any) -> Heard:
        last = row["sample_id"].endswith("3")
        return Heard(0.25, "the car looks more like boat") if last else Heard(0.75)

    monkeypatch.setattr(Presence, "about", about)
    generate(tmp_path / "ds", num_samples=4, **planted)
    return tmp_path / "ds"


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_curate_asks_and_tells(dataset: Path, tmp_path: Path, cache_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {
        "presence": tiny_clip(tmp_path / "clip"),
        "segmenter": str(save_tiny_segmenter("sam", tmp_path / "sam")),
        "concepts": str(save_tiny_concept_segmenter(tmp_path / "sam3")),
        "min_agreement": 0.0,
        "ask": str(save_tiny_vision_language(tmp_path / "llava")),
    }
    # Random weights are as sure as not that a class is there.
    monkeypatch.setattr(opinions, "PRESENT", 0.0)
    assert curate(dataset, tmp_path / "clean", folds=0, keep_opinions=True, **asked) == {"presence": 1}
    (told,) = lines_of(tmp_path / "clean" / "rejections.jsonl")
    assert (told["filter"], told["reason"], told["score"]) == ("presence", "the car looks more like boat", 0.25)
    for folder in ("clean", "clean-rejected"):
        scores = lines_of(tmp_path / folder / "opinions.jsonl")
        assert [entry["presence"] for entry in scores] == [0.75, 0.75, 0.75, 0.25]
        assert all(0 <= entry[name] <= 1 for entry in scores for name in ("segmenter", "concepts", "question"))
        recipe = yaml.safe_load((tmp_path / folder / "recipe.yaml").read_text())
        pinned = {
            name: {"model": asked[name], "revision": fingerprint(Path(asked[name]))}
            for name in ("presence", "segmenter", "concepts", "ask")
        }
        least = {"least": 0.0}
        assert recipe["curated"] == {
            "presence": pinned["presence"] | {"odds": 10.0},
            "segmenter": pinned["segmenter"] | least,
            "concepts": pinned["concepts"] | least,
            "question": pinned["ask"],
        }
    kept = load_dataset(str(tmp_path / "clean"), split="train", cache_dir=cache_dir)
    assert [row["presence"] for row in kept["opinions"]] == [0.75, 0.75, 0.75]
    assert kept[0]["opinions"]["flip"] is None
    # What was curated is curated again, and can still be generated from its recipe.
    assert curate(tmp_path / "clean", tmp_path / "again", folds=0, flipped=lambda row: {1: 0.9}) == {}
    again = open_dataset(tmp_path / "again")
    assert sorted(again.history["curated"]) == ["concepts", "flip", "presence", "question", "segmenter"]
    assert [row["opinions"]["presence"] for _, row in again.rows()] == [0.75, 0.75, 0.75]
    generate(tmp_path / "generated", num_samples=1, recipe=tmp_path / "again", store=tmp_path / "store")


def test_nobody_is_asked_twice_after_an_interruption(dataset: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def flipped(row: Any) -> dict[int, float]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(row["sample_id"])
        return {1: 0.5 + 0.125 * len(asked)}

    with pytest.raises(KeyboardInterrupt):
        curate(dataset, tmp_path / "clean", folds=0, flipped=flipped)
    (kept,) = tmp_path.glob(".clean.folds/opinions-*.jsonl")
    with kept.open("a") as stream:
        stream.write('\n{"sample_id": "cut sh')
    (first, second), asked[:] = asked, []
    assert curate(dataset, tmp_path / "clean", folds=0, flipped=flipped) == {}
    assert len({first, second, *asked}) == 4
    assert [entry["flip"] for entry in lines_of(tmp_path / "clean" / "opinions.jsonl")] == [0.625, 0.75, 0.625, 0.75]
