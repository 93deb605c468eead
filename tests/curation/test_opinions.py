"""Second opinions: whether a class is seen where its mask is, and whether a segmenter confirms the mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, SamConfig

from diffumask_datasets.curation import opinions
from diffumask_datasets.curation.curate import curate
from diffumask_datasets.curation.opinions import Presence, SegmenterAgreement
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.segmentation import image_text
from tests.helpers.made_datasets import made_row
from tests.helpers.segmenters import TrueSegmenter, save_tiny_segmenter
from tests.helpers.tiny_models import vocabularies

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


def test_curate_asks_and_tells(planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "ds", num_samples=4, **planted)

    def about(judge: Presence, row: Any) -> opinions.Heard:
        last = row["sample_id"].endswith("3")
        return opinions.Heard(0.25, "the car looks more like boat") if last else opinions.Heard(0.75)

    monkeypatch.setattr(Presence, "about", about)
    monkeypatch.setattr(image_text, "load_image_text", lambda model: model)
    segmenter = str(save_tiny_segmenter("sam", tmp_path / "sam"))
    counts = curate(
        tmp_path / "ds", tmp_path / "clean", folds=0, presence="some/clip", segmenter=segmenter, min_agreement=0.0
    )
    assert counts == {"presence": 1}
    (line,) = (tmp_path / "clean" / "rejections.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["filter"], told["reason"], told["score"]) == ("presence", "the car looks more like boat", 0.25)
    for folder in ("clean", "clean-rejected"):
        lines = (tmp_path / folder / "opinions.jsonl").read_text().splitlines()
        scores = [json.loads(line) for line in lines]
        assert [entry["presence"] for entry in scores] == [0.75, 0.75, 0.75, 0.25]
        assert all(0 <= entry["segmenter"] <= 1 for entry in scores)
