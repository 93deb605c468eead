"""Asking a vision-language model what yes or no answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffumask_datasets.errors import ModelError
from diffumask_datasets.segmentation.vision_language import load_vision_language
from tests.helpers.vision_language import save_tiny_vision_language


def test_an_answer_is_a_probability_that_follows_from_image_and_question(tmp_path: Path) -> None:
    model = load_vision_language(str(save_tiny_vision_language(tmp_path / "llava")), device="cpu")
    dark, bright = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 255, np.uint8)
    answers = [model.agrees(dark, "a car?"), model.agrees(bright, "a car?"), model.agrees(dark, "a plant?")]
    assert all(0 < answer < 1 for answer in answers)
    assert len(set(answers)) == 3
    assert model.agrees(dark, "a car?") == pytest.approx(answers[0])


def test_models_that_cannot_be_asked_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no vision-language model 'nothing': give an existing folder or a Hub id"):
        load_vision_language("nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"the vision-language model .* cannot be loaded: "):
        load_vision_language(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="has no chat template, so it cannot be asked"):
        load_vision_language(str(save_tiny_vision_language(tmp_path / "mute", chat=None)), device="cpu")
