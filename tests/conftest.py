"""Fixtures for every test: a store and a datasets cache of its own, and a recipe that needs no model."""

import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.helpers.hub_server import LocalHub

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    HUB_PORT = probe.getsockname()[1]

# Read when huggingface_hub is first imported. Nobody listens there but in tests that ask for local_hub, so that no test can
# reach the real Hub.
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{HUB_PORT}"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# What the tests import makes a million objects that stay; a collection that looks through them takes half a second.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


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
def local_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub of this test alone, which the real clients talk to."""
    with LocalHub(HUB_PORT) as hub:
        yield hub


@pytest.fixture
def cache_dir(tmp_path: Path) -> str:
    """The datasets cache of this test alone."""
    return str(tmp_path / "datasets")


@pytest.fixture
def planted() -> dict[str, Any]:
    return dict(PLANTED)


@pytest.fixture
def generated() -> Callable[[], int]:
    """How many images the planted double has generated since the test began: call it."""
    from diffumask_datasets.diffusion.fake_model import FakeModel

    before = FakeModel.images_generated
    return lambda: FakeModel.images_generated - before


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Children started within heed Ctrl-C, also where the tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
