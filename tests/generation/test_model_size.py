from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from diffumask_datasets.generation.model_size import parameter_count
from diffumask_datasets.models.reference import PIPELINE


def pipeline(folder: Path) -> Path:
    for network in ("unet", "text_encoder"):
        (folder / network).mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "NewPipeline"}')
    return folder


def test_the_toybox_and_the_fake_model() -> None:
    assert parameter_count(PIPELINE.named("toybox")) == 11_771_811
    assert parameter_count(PIPELINE.named("planted")) is None


def test_what_is_loaded_is_counted_once(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "model")
    half, whole = np.zeros((10, 7), np.float16), np.zeros((10, 7), np.float32)
    save_file({"a": whole, "b": whole}, folder / "unet" / "weights.safetensors")
    save_file({"a": half}, folder / "unet" / "weights.fp16.safetensors")
    (folder / "unet" / "weights.bin").write_bytes(b"0" * 5000)
    (folder / "text_encoder" / "weights.bin").write_bytes(b"0" * 60)
    save_file({"a": whole}, folder / "everything.safetensors")
    assert parameter_count(PIPELINE.named(str(folder))) == 140 + 30
    assert parameter_count(PIPELINE.named(str(folder)), variant="fp16") == 70 + 30


def test_a_damaged_file_and_none_at_all(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "model")
    assert parameter_count(PIPELINE.named(str(folder))) is None
    (folder / "unet" / "weights.safetensors").write_bytes(b"\xff" * 100)
    assert parameter_count(PIPELINE.named(str(folder))) == 50


def test_the_hub_says_how_large_what_it_has_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--me--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    model = PIPELINE.named("me/model", "0" * 40)
    assert parameter_count(model) is None  # nobody answers
    files = {"unet/weights.safetensors": 1000, "unet/weights.fp16.safetensors": 500, "whole.safetensors": 9000}

    def model_info(_: object, name: str, **how: Any) -> object:
        assert (name, how) == ("me/model", {"revision": "0" * 40, "files_metadata": True})
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file, size=size) for file, size in files.items()])

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    assert parameter_count(model) == 500
