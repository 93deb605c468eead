"""Masks on real photographs with human masks. Run by ``make bench-photos``; PHOTOS names the folder of the photographs.

Attention is simulated from the human masks, no model's: the figures say what thresholds and refinement do with such heat.
Also writes pictures into ``docs`` (``build/benchmarks`` when quick): ``photos_worst.png``, ``photos_random.png``,
``photos_quality.png`` and ``photos_quality_streets.png``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from diffumask_datasets.models.determinism import single_thread
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.photos_instances import instance_figures
from tests.benchmarks.photos_noise import noise_figures
from tests.benchmarks.photos_pictures import save_quality, save_sheets
from tests.benchmarks.photos_refine import refine_figures, robustness_figures
from tests.benchmarks.photos_segmenter import segmenter_figures
from tests.benchmarks.photos_streets import street_figures

PARTS = ("refine", "streets", "robustness", "instances", "noise", "segmenter")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "refine": lambda: _refine(quick=quick),
        "streets": lambda: _streets(quick=quick),
        "robustness": lambda: robustness_figures(quick=quick),
        "instances": lambda: instance_figures(quick=quick),
        "noise": lambda: noise_figures(quick=quick),
        "segmenter": lambda: segmenter_figures(quick=quick),
    }
    figures: dict[str, float] = {}
    with single_thread():
        for part in chosen:
            figures |= parts[part]()
    return {figure: value for figure, value in figures.items() if np.isfinite(value)}


def _refine(*, quick: bool) -> dict[str, float]:
    figures, judged = refine_figures(quick=quick)
    save_sheets(judged, _pictures(quick=quick))
    points = {"objects of COCO": [(one.quality, one.ious["refined"]) for one in judged]}
    save_quality(points, _pictures(quick=quick) / "photos_quality.png")
    return figures


def _streets(*, quick: bool) -> dict[str, float]:
    figures, streets = street_figures(quick=quick)
    save_quality({"classes of CamVid": streets.beliefs}, _pictures(quick=quick) / "photos_quality_streets.png")
    return figures


def _pictures(*, quick: bool) -> Path:
    return ROOT / ("build/benchmarks" if quick else "docs")


if __name__ == "__main__":
    run("photos", measure, parts=PARTS, keeps=True)
