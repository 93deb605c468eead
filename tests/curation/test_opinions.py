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
from transformers import SamConfig

from diffumask_datasets.curation import opinions
from diffumask_datasets.curation.curate import curate
from diffumask_datasets.curation.opinions import ConceptAgreement, Heard, Presence, Question, SegmenterAgreement
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.masks import promptable_cost
from diffumask_datasets.masks.concepts import Concept, load_concept_segmenter
from diffumask_datasets.masks.presence import PresenceJudge
from diffumask_datasets.models.fingerprint import fingerprint
from tests.helpers.image_text import ColourModel, save_tiny_clip, scene_with
from tests.helpers.made_datasets import made_row
from tests.helpers.segmenters import TrueSegmenter, save_tiny_concept_segmenter, save_tiny_segmenter
from tests.helpers.vision_language import save_tiny_vision_language

TERMS = ("car", "potted plant", "boat")


def row_with(*things: tuple[str, str, tuple[int, int, int, int]]) -> dict[str, Any]:
    """An image with boxes, each coloured as one class and labelled as another."""
    image, label = scene_with(*things)
    return {**made_row(label, []), "image": png_cell(image)}


def test_presence_is_judged_on_the_image_and_the_label_of_a_row() -> None:
    model: Any = ColourModel()
    judge = Presence(PresenceJudge(model, TERMS))
    assert judge.filter == "presence"
    assert judge.about(row_with(("car", "car", (10, 10, 40, 40)))).objection is None
    assert str(judge.about(row_with(("boat", "car", (10, 10, 40, 40)))).objection).startswith("the car looks more like")


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


def test_models_that_find_nothing_by_its_name_are_refused(tmp_path: Path) -> None:
    SamConfig().save_pretrained(tmp_path)
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


def test_curate_asks_and_tells(
    dataset: Path,
    tmp_path: Path,
    cache_dir: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(promptable_cost, "_operations_a_second", lambda: 1e5)
    asked: dict[str, Any] = {
        "presence": save_tiny_clip(tmp_path / "clip"),
        "segmenter": str(save_tiny_segmenter("sam", tmp_path / "sam")),
        "concepts": str(save_tiny_concept_segmenter(tmp_path / "sam3")),
        "min_agreement": 0.0,
        "ask": str(save_tiny_vision_language(tmp_path / "llava")),
    }
    # Random weights are as sure as not that a class is there.
    monkeypatch.setattr(opinions, "PRESENT", 0.0)
    assert curate(dataset, tmp_path / "clean", folds=0, keep_opinions=True, **asked) == {"presence": 1}
    assert "and there is no GPU; --presence and --segmenter ask less of a machine" in caplog.text
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
