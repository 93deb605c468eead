"""A dataset to push, and a cache of the Hub's client for each test."""

from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets import generate


@pytest.fixture(autouse=True)
def own_hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def folder(planted: dict[str, Any], tmp_path: Path) -> Path:
    generate(tmp_path / "ds", splits={"train": 5, "validation": 2}, keep_heat_maps=True, **planted)
    return tmp_path / "ds"
