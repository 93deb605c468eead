"""Curating planted datasets: who goes, where to, and why."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import transformers
from datasets import load_dataset

from diffumask_datasets.curation.curate import curate, rejected_folder
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.generation.generate import generate


def ids(folder: Path) -> list[str]:
    return [
        name for path in sorted((folder / "data").glob("*")) for name in pq.read_table(path)["sample_id"].to_pylist()
    ]


@pytest.fixture
def folder(planted: dict[str, Any], tmp_path: Path) -> Path:
    """Eight samples; those whose object is under 30 % of the image have no mask."""
    generate(tmp_path / "ds", splits={"train": 6, "validation": 2}, **{**planted, "min_area": 0.3})
    return tmp_path / "ds"


def test_samples_without_a_mask_go_and_are_told(folder: Path, tmp_path: Path, cache_dir: str) -> None:
    counts = curate(folder, tmp_path / "clean", folds=0)
    gone = ids(rejected_folder(tmp_path / "clean"))
    assert 0 < len(gone) < 8
    assert counts == {"empty": len(gone)}
    assert sorted(ids(tmp_path / "clean") + gone) == sorted(ids(folder))
    for place in ("clean", "clean-rejected"):
        lines = (tmp_path / place / "rejections.jsonl").read_text().splitlines()
        told = [json.loads(line) for line in lines]
        assert [entry["sample_id"] for entry in told] == [name for name in ids(folder) if name in gone]
        assert {(entry["filter"], entry["reason"]) for entry in told} == {("empty", "no object has a mask")}
    kept = load_dataset(str(tmp_path / "clean"), split="train", cache_dir=cache_dir)
    assert all(row["classes"] for row in kept)


TINY: dict[str, Any] = {
    "model": "segformer-small",
    "model_options": {"depths": [1, 1, 1, 1], "hidden_sizes": [4, 8, 12, 20], "decoder_hidden_size": 8},
    "height": 32,
    "width": 32,
    "batch_size": 2,
}


def test_noise_learning_runs_over_the_folder(folder: Path, tmp_path: Path) -> None:
    counts = curate(folder, tmp_path / "clean", folds=2, drop_share=0.0, epochs=1, training=TINY)
    assert set(counts) == {"empty"}
    assert curate(folder, tmp_path / "again", folds=2, drop_share=0.0, epochs=1, training=TINY) == counts
    assert ids(tmp_path / "clean") == ids(tmp_path / "again")
    assert sorted(place.name for place in tmp_path.iterdir()) == sorted(
        ["ds", "store", "clean", "clean-rejected", "again", "again-rejected"]
    )


def test_a_finished_fold_is_not_trained_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = curate(folder, tmp_path / "whole", folds=2, epochs=1, training=TINY)
    train, trained = transformers.Trainer.train, []

    def once(trainer: transformers.Trainer, **how: Any) -> None:
        if trained:
            raise KeyboardInterrupt
        trained.append(train(trainer, **how))

    monkeypatch.setattr(transformers.Trainer, "train", once)
    with pytest.raises(KeyboardInterrupt):
        curate(folder, tmp_path / "clean", folds=2, epochs=1, training=TINY)
    assert not (tmp_path / "clean").exists()
    trained.clear()  # one more is allowed
    assert curate(folder, tmp_path / "clean", folds=2, epochs=1, training=TINY) == whole


def test_what_cannot_be_curated(folder: Path, planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "empty", num_samples=2, **{**planted, "min_area": 0.99})
    with pytest.raises(ExportError, match=r"all 2 samples of .* would be rejected: no object has a mask"):
        curate(tmp_path / "empty", tmp_path / "x", folds=0)
    with pytest.raises(ExportError, match="is the dataset itself"):
        curate(folder, folder)
    with pytest.raises(RecipeError, match=r"min_quality lies in \[0, 1\], got 2"):
        curate(folder, tmp_path / "x", min_quality=2)
    with pytest.raises(RecipeError, match=r"drop_share lies in \[0, 1\), got 1"):
        curate(folder, tmp_path / "x", drop_share=1)
    assert not (tmp_path / ".x.folds").exists()
    with pytest.raises(RecipeError, match="takes 2 or more folds"):
        curate(folder, tmp_path / "x", folds=1)
    assert not (tmp_path / "x").exists()
