"""Every command decodes each picture of a dataset once, and leaves a PNG as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets import export, generate, push, verify
from diffumask_datasets.dataset import image_io
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.hub.summary import GRID_SAMPLES
from diffumask_datasets.review import write_page
from diffumask_datasets.segmentation.labelled import labelled_rows
from diffumask_datasets.segmentation.settings import Source
from diffumask_datasets.segmentation.sources import open_source
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub

COUNT = GRID_SAMPLES + 2
"""More than the contact sheet of a card shows."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import PLANTED

    folder = tmp_path_factory.mktemp("made")
    generate(folder / "ds", num_samples=COUNT, store=folder / "store", **PLANTED)
    return folder / "ds"


@pytest.fixture
def decodes(made: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Counter[int], Counter[int]]]:
    """How many images, and how many masks, were decoded once, twice, …; as a function."""
    rows = [row for _, row in open_dataset(made).rows()]
    columns = {name: {row[name]["bytes"] for row in rows} for name in ("image", "label")}
    seen: Counter[bytes] = Counter()
    identified = image_io._identified

    def counted(source: Any) -> Any:
        seen[source if isinstance(source, bytes) else Path(source).read_bytes()] += 1
        return identified(source)

    monkeypatch.setattr(image_io, "_identified", counted)

    def counts() -> tuple[Counter[int], Counter[int]]:
        images, masks = (Counter(seen[data] for data in columns[name]) for name in ("image", "label"))
        return images, masks

    return counts


ONCE = Counter({1: COUNT})


@pytest.mark.parametrize("name", ["coco", "voc", "ade20k"])  # the PNG itself, a JPEG instead
def test_an_export_and_its_verification(made: Path, tmp_path: Path, decodes: Any, name: str) -> None:
    export(made, tmp_path / "out", format=name)
    assert decodes() == (ONCE, ONCE)
    assert all(check.passed for check in verify(tmp_path / "out", source=made))
    images, masks = decodes()
    assert (images, masks.keys()) == (Counter({2: COUNT}), {2})
    if name == "coco":
        written = {path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
        assert {row["image"]["bytes"] for _, row in open_dataset(made).rows()} <= written


def test_the_review_page(made: Path, tmp_path: Path, decodes: Any) -> None:
    write_page(made, tmp_path / "page.html")
    assert decodes() == (ONCE, ONCE)


def test_a_push_with_all_its_views(made: Path, decodes: Any, local_hub: LocalHub) -> None:
    push(made, "me/boats", token=GOOD_TOKEN)
    # Those on the contact sheet once more, when everything else is written.
    assert decodes() == (Counter({2: GRID_SAMPLES, 1: 2}),) * 2


def test_an_epoch_of_training(made: Path, decodes: Any) -> None:
    assert sum(1 for _ in labelled_rows(open_source(Source(dataset=str(made))))) == COUNT
    assert decodes() == (ONCE, ONCE)
