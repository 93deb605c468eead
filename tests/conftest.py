"""Fixtures for every test: a store and a datasets cache of its own, and a recipe that needs no model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Speed is a matter of the benchmarks: a busy machine must not turn a right answer red.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

PLANTED: dict[str, Any] = {
    "classes": ["car", "potted plant", "boat"],
    "model": "planted",
    "height": 48,
    "width": 64,
    "threshold": 0.5,
    "refinement": None,
    "ignore_margin": 0.0,
}
"""Recipe fields under which every mask is exactly what the planted double plants."""


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample store of this test alone."""
    store = tmp_path / "store"
    monkeypatch.setenv("DIFFUMASK_CACHE", str(store))
    return store


@pytest.fixture
def cache_dir(tmp_path: Path) -> str:
    """The datasets cache of this test alone."""
    return str(tmp_path / "datasets")


@pytest.fixture
def planted() -> dict[str, Any]:
    return dict(PLANTED)


@pytest.fixture
def painted() -> Callable[[], int]:
    """How many images the planted double has painted since the test began: call it."""
    from diffumask_datasets.backbones.planted import PlantedBackbone

    before = PlantedBackbone.images_painted
    return lambda: PlantedBackbone.images_painted - before
