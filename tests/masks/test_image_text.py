"""Image-text models are compared with texts; what compares nothing is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import SamConfig

from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.image_text import check_image_text, load_image_text
from tests.helpers.hub_server import LocalHub
from tests.helpers.image_text import save_tiny_clip


def test_clip_compares_an_image_with_texts(tmp_path: Path) -> None:
    model = load_image_text(save_tiny_clip(tmp_path / "clip"), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    fit = model.compare(image, ["a photo of a car", "background"])
    assert fit.shape == (2,)
    np.testing.assert_allclose(fit[:1], model.compare(image, ["a photo of a car"]), atol=1e-5)


def test_models_that_compare_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no image-text model 'nothing': give an existing folder or a Hub id"):
        load_image_text("nothing")
    SamConfig().save_pretrained(tmp_path)
    for refuse in (check_image_text, load_image_text):
        with pytest.raises(
            ModelError, match=r"' does not compare images with texts; give a CLIP or SigLIP, e\.g\. 'openai"
        ):
            refuse(str(tmp_path))


def test_an_image_text_model_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": {}, "vision_config": {}}))
    check_image_text(str(tmp_path))
    with pytest.raises(ModelError, match=r"the image-text model .* cannot be loaded: "):
        load_image_text(str(tmp_path))


def test_a_model_that_is_nowhere_is_one_line(local_hub: LocalHub) -> None:
    with pytest.raises(ModelError, match="no image-text model 'me/clip' on the Hub: check the name"):
        check_image_text("me/clip")
