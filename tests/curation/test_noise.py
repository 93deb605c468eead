from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffumask_datasets.curation.noise import cross_validated_agreements
from diffumask_datasets.curation.noise_flags import flag_noisy
from diffumask_datasets.curation.rejection import reject_by_itself
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError, RecipeError
from tests.helpers.noisy_rows import rows_of


@pytest.mark.parametrize(
    ("label", "quality", "expected"),
    [
        ([[0, 255]], 0.9, ("empty", "no object has a mask")),
        ([[1, 1]], 0.9, ("full", "the mask of a class covers 100% of the image")),
        ([[1, 2]], 0.9, None),
        ([[0, 1]], 0.2, ("quality", "quality 0.20 is under 0.30")),
        ([[0, 1]], 0.3, None),
    ],
)
def test_samples_that_speak_against_themselves(label: list[list[int]], quality: float, expected: object) -> None:
    row = {"sample_id": "a", "label": png_cell(np.array(label, np.uint8)), "quality": quality}
    found = reject_by_itself(row, min_quality=0.3)
    assert (found and (found.filter, found.reason)) == expected


def test_without_a_background_a_class_may_fill_an_image() -> None:
    row = {"sample_id": "a", "label": png_cell(np.array([[1, 1]], np.uint8)), "quality": 0.9}
    assert reject_by_itself(row, min_quality=0.3, fills=True) is None


def test_a_damaged_mask_is_the_one_that_is_not_confirmed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = [], []
    for number in range(18):
        top, left = rng.integers(4, 24, 2)
        label = np.zeros((64, 64), np.uint8)
        label[top : top + 32, left : left + 32] = 1 + number % 2
        colours = np.array([(90, 110, 100), (220, 40, 30), (40, 60, 230)])
        images.append((colours[label] + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8))
        labels.append(label)
    labels[3] = np.roll(labels[3], 24, axis=1)
    labels[8] = np.where(labels[8] == 1, 2, 0).astype(np.uint8)
    rows = rows_of(images, labels, ["car", "boat"])
    training = {
        "model": "segformer-small",
        "model_options": {
            "depths": [1] * 4,
            "hidden_sizes": [16] * 4,
            "num_attention_heads": [1] * 4,
            "decoder_hidden_size": 16,
        },
        "height": 64,
        "width": 64,
        "steps": 40,
        "batch_size": 4,
        "learning_rate": 1e-2,
    }
    heard: list[int] = []
    agreements = cross_validated_agreements(rows, folds=2, folder=tmp_path, progress=heard.append, **training)
    assert heard == [1, 2]
    flagged = {k for k, flag in enumerate(flag_noisy(agreements, ["car", "boat"])) if flag}
    assert {3, 8} <= flagged
    assert len(flagged) <= 5


def test_what_cannot_be_learned_from(tmp_path: Path) -> None:
    image, label = np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8)
    rows = rows_of([image] * 5, [label] * 5, ["car"])
    with pytest.raises(RecipeError, match="takes 2 or more folds of 2 or more samples; got 3 of 5"):
        cross_validated_agreements(rows, folds=3, folder=tmp_path)
    with pytest.raises(ModelError, match=r"nowhere"):
        cross_validated_agreements(rows, folds=2, folder=tmp_path, model="./nowhere")
