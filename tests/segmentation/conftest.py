"""A world of two classes that a model of eight channels learns in seconds, and settings to train on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from numpy.typing import NDArray

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.segmentation.settings import TrainingSettings

TINY = {
    "model": "segformer-small",
    "model_options": {
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [8, 8, 8, 8],
        "num_attention_heads": [1, 1, 1, 1],
        "decoder_hidden_size": 8,
    },
    "batch_size": 4,
    "steps": 3,
    "log_every": 1,
}
"""A model of width 8 that takes three steps."""


def two_shapes(seed: int, side: int = 64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A red square (class 1) and a blue one (class 2) on grey, and their mask."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 130, (side, side, 3)).astype(np.uint8)
    label = np.zeros((side, side), dtype=np.uint8)
    for class_id, colour in ((1, (230, 20, 20)), (2, (20, 20, 230))):
        top, left = rng.integers(0, side // 2, 2)
        image[top : top + side // 3, left : left + side // 3] = colour
        label[top : top + side // 3, left : left + side // 3] = class_id
    return image, label


def shapes(count: int, *, first: int = 0, classes: tuple[str, ...] = ("car", "boat")) -> datasets.Dataset:
    """``count`` of them as a map-style dataset in our columns."""
    pairs = [two_shapes(seed) for seed in range(first, first + count)]
    return datasets.Dataset.from_dict(
        {
            "sample_id": [f"shapes-{seed}" for seed in range(first, first + count)],
            "image": [png_cell(image) for image, _ in pairs],
            "label": [png_cell(label) for _, label in pairs],
            "classes": [[1, 2] for _ in pairs],
        },
        features=datasets.Features(
            {
                "sample_id": datasets.Value("string"),
                "image": datasets.Image(),
                "label": datasets.Image(),
                "classes": [datasets.ClassLabel(names=["background", *classes])],
            }
        ),
    )


@pytest.fixture
def shapes_folder(tmp_path: Path) -> Path:
    """Eight of them as a folder that plain load_dataset reads."""
    folder = tmp_path / "shapes"
    (folder / "data").mkdir(parents=True)
    shapes(8).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture
def tiny() -> Callable[..., TrainingSettings]:
    """Settings of a tiny training; keywords change them."""

    def settings(**changes: Any) -> TrainingSettings:
        return TrainingSettings.of(**{"sources": ({"dataset": "shapes"},), **TINY, **changes})

    return settings
