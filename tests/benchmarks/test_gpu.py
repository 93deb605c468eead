"""bench-gpu on the CPU, with tiny models: every section runs by the product's own way."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from diffumask_datasets.errors import ModelError
from tests.benchmarks import bench_gpu, harness
from tests.benchmarks.bench_gpu import Effort, architecture_figures, sam_figures, within
from tests.benchmarks.gpu_models import Architecture
from tests.helpers.segmenters import save_tiny_segmenter
from tests.helpers.tiny_models import models

EFFORT = Effort("cpu", rounds=1, seconds=0.0, refined=1)
SD15, SDXL, FLUX = (
    Architecture(name, lambda place, model=model: models.built(model), 64, 2, 1)
    for name, model in (("sd15", "sd1"), ("sdxl", "sdxl"), ("flux", "flux"))
)


@pytest.mark.parametrize("architecture", [SD15, SDXL, FLUX], ids=lambda one: one.name)
def test_an_architecture_is_measured(architecture: Architecture, tmp_path: Path) -> None:
    figures = architecture_figures(architecture, tmp_path, effort=EFFORT)
    assert figures["best_batch"] == 1
    assert figures["masks_time_ratio"] > 0
    assert figures["labelled_per_hour"] > 0
    assert figures["overlap_ratio"] > 1  # on the CPU masks are made after the image
    assert 0 < figures["refine_seconds"] < 60
    assert len(list((tmp_path / "store").rglob("*.sample"))) == 3  # one to begin with, two that are counted


def test_a_segmenter_is_measured(tmp_path: Path) -> None:
    figures = sam_figures(SD15, partial(save_tiny_segmenter, "sam2"), tmp_path, effort=EFFORT)
    assert figures.keys() == {"labelled_per_hour", "overlap_ratio", "refine_seconds"}


def test_what_does_not_fit_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def section(seconds: float) -> Callable[[Path], Mapping[str, float]]:
        def measured(folder: Path) -> Mapping[str, float]:
            nonlocal now
            now += seconds
            if seconds == 5:
                raise ModelError("out of memory")
            return {"seconds": seconds}

        return measured

    # Twice as slow as foreseen: flux needs 400 s, and 480 - 165 are left.
    sections = {"sd15": section(160), "sdxl": section(5), "flux": section(300), "sam": section(7)}
    found = list(within(480, sections))
    assert found == [{"sd15_seconds": 160}, {"flux_seconds": 300}]
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["sdxl: left out: out of memory", "sam: left out, as it takes about 66 s and 15 s are left"]


def test_each_section_is_written_as_soon_as_it_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "build" / "benchmarks" / "gpu.json"
    seen = []

    def measure(quick: bool, chosen: list[str]) -> Iterator[Mapping[str, float]]:
        yield {"sd15_figure": 1.0}
        seen.append(json.loads(path.read_text()))
        yield {"flux_figure": 2.0}

    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench_gpu", "--quick"])
    harness.run("gpu", measure, parts=tuple(bench_gpu.COSTS), keeps=True)
    assert seen[0]["sd15_figure"] == 1.0
    assert "flux_figure" not in seen[0]
    assert json.loads(path.read_text()).keys() == {"sd15_figure", "flux_figure", "_run"}
