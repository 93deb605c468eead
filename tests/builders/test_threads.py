"""Threads and forks of one process share a model, and give what one thread gives, byte for byte."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from torch.utils.data import DataLoader

from diffumask_datasets.dataset.parquet import read_rows, split_files
from diffumask_datasets.generation import model
from diffumask_datasets.generation.label import label_folder

Content = dict[str, dict[str, Any]]

FAST: dict[str, Any] = {
    "height": 64,
    "width": 64,
    "num_inference_steps": 2,
    "attention_grids": [8],
    "attention_timesteps": [0, 1000],
    "refinement": None,
}
"""The shipped model at its smallest."""

TWO_RECIPES: list[dict[str, Any]] = [
    {**FAST, "classes": ["car", "boat"], "seed": 77},
    {**FAST, "classes": ["mushroom"], "seed": 78, "num_inference_steps": 3},
]

SAMPLES = 2


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Content]:
    """What one thread gives for each recipe."""
    folder = tmp_path_factory.mktemp("alone")
    return [content(stream(fields, folder)) for fields in TWO_RECIPES]


def stream(fields: dict[str, Any], store: Path) -> Any:
    extent = {"num_samples": SAMPLES, "num_shards": SAMPLES, "keep_heat_maps": True}
    return load_dataset("diffumask", streaming=True, split="train", store=str(store), **extent, **fields)


def content(rows: Any) -> Content:
    """Sample id → all columns, pictures as bytes."""
    return {row["sample_id"]: {name: plain(value) for name, value in row.items()} for row in rows}


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.tobytes() if isinstance(value, Image.Image) else value


def test_eight_threads_and_two_recipes_give_what_one_thread_gives(tmp_path: Path, alone: list[Content]) -> None:
    """No model is loaded and the store is empty when they begin; datasets reads the shards of each stream in threads too."""
    model.load_checked_model.cache_clear()
    model._load.cache_clear()

    def shuffled(number: int) -> Content:
        return content(stream(TWO_RECIPES[number % 2], tmp_path / "together").shuffle(seed=number, buffer_size=2))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(shuffled, range(8)))
    assert [len(one) for one in alone] == [SAMPLES, SAMPLES]
    assert [one == alone[number % 2] for number, one in enumerate(found)] == [True] * 8
    # What was stored on the way is right too.
    assert [content(stream(fields, tmp_path / "together")) for fields in TWO_RECIPES] == alone


def test_loader_processes_that_are_forked_while_a_thread_generates(tmp_path: Path, alone: list[Content]) -> None:
    """They take over a model that nobody is using, and no lock that nobody will release."""
    stopped = threading.Event()

    def generate() -> list[Content]:
        found = []
        while not stopped.is_set():
            found.append(content(stream(TWO_RECIPES[1], tmp_path / f"generated-{len(found)}")))
        return found

    with ThreadPoolExecutor(1) as thread:
        generated = thread.submit(generate)
        try:
            rows = stream(TWO_RECIPES[0], tmp_path / "loaded").shuffle(seed=3, buffer_size=2)
            loader = DataLoader(rows, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=120)
            found = content(loader)
        finally:
            stopped.set()
    assert found == alone[0]
    assert all(one == alone[1] for one in generated.result())


def test_a_model_that_generates_in_one_thread_and_labels_in_another(tmp_path: Path, alone: list[Content]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise).save(tmp_path / "photos" / "car.png")

    def labels(name: str) -> Content:
        how = {"timesteps": [100, 300, 500, 700], "store": tmp_path / name, "keep_heat_maps": True}
        label_folder(tmp_path / "photos", tmp_path / f"{name}-labels", **how, **FAST, classes=["car"])
        rows = read_rows(split_files(tmp_path / f"{name}-labels")["train"])
        return {row["sample_id"]: row for row in rows}

    with ThreadPoolExecutor(2) as threads:
        labelled = threads.submit(labels, "together")
        generated = threads.submit(lambda: content(stream(TWO_RECIPES[0], tmp_path / "together")))
    assert generated.result() == alone[0]
    assert labelled.result() == labels("alone")
