"""The shipped weights: an ordinary diffusers folder, light enough for the package, that generates."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.toybox.judge import load_judge


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = StableDiffusionPipeline.from_pretrained(TOYBOX)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_the_folder_is_at_most_25_mb() -> None:
    assert sum(file.stat().st_size for file in TOYBOX.rglob("*") if file.is_file()) <= 25_000_000


def test_weights_are_float16_safetensors() -> None:
    stored = StableDiffusionPipeline.from_pretrained(TOYBOX, torch_dtype=torch.float16)
    assert {stored.unet.dtype, stored.vae.dtype, stored.text_encoder.dtype} == {torch.float16}
    assert not list(TOYBOX.rglob("*.bin"))


def test_model_index_needs_no_safety_checker() -> None:
    index = json.loads((TOYBOX / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_nothing_of_the_training_machine_is_shipped() -> None:
    texts = [file.read_text() for file in TOYBOX.rglob("*") if file.suffix in (".json", ".md", ".txt")]
    assert not any("/work/" in text or "/root/" in text or "/tmp/" in text for text in texts)


def test_the_card_says_how_it_was_trained() -> None:
    card = (TOYBOX / "README.md").read_text()
    facts = json.loads((TOYBOX / "training.json").read_text())
    assert str(facts["images_seen"]) in card
    assert "no mask" in card


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_every_tensor_is_the_one_of_the_file(pipeline: StableDiffusionPipeline, part: str) -> None:
    (file,) = (TOYBOX / part).glob("*.safetensors")
    stored, loaded = load_file(file), getattr(pipeline, part).state_dict()
    assert loaded.keys() == stored.keys()
    assert [name for name, weight in stored.items() if not torch.equal(weight.float(), loaded[name])] == []


def test_the_judge_sees_what_was_asked_for(pipeline: StableDiffusionPipeline) -> None:
    asked = ["car", "boat", "tree"]
    generator = [torch.Generator().manual_seed(seed) for seed in range(len(asked))]
    images = pipeline([f"a photo of a {name}" for name in asked], num_inference_steps=10, generator=generator).images
    verdicts = load_judge().look([np.array(image) for image in images])
    assert [verdict.best_class for verdict in verdicts] == asked


def test_it_generates_an_image_of_its_own_size(pipeline: StableDiffusionPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    image = pipeline("a photo of a red car", num_inference_steps=2, generator=generator, output_type="np").images[0]
    assert image.shape == (128, 128, 3)
    assert np.isfinite(image).all()
    assert image.std() > 0.01


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_every_part_is_there(part: str) -> None:
    assert (Path(TOYBOX) / part).is_dir()
