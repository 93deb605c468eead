"""The paper's experiment on real street photographs. Run by ``make bench-streets``; PHOTOS names the folder with ``camvid``.

Parts: ``model`` trains a small text-to-image model on crops of the training photos and image-level captions; ``label`` has
it label the test photos, beside a position prior, shuffled words and an untrained model; ``generate`` makes pictures with
masks; ``train`` trains a small segmenter on real photos, on those pictures and on both; ``curate`` is noise learning on
them. Each goes on where it was stopped; what is finished lies in ``build/benchmarks/streets-…`` under a digest of its sizes.

Nothing of the photos enters the repository but a contact sheet of what the model makes, and no weights do.
``SIZES=hours`` is what some hours of one core carry; ``QUICK=1`` goes the whole way on two photos of each split.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from diffumask_datasets.models.determinism import single_thread
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.streets_generate import generate_figures, save_sheet
from tests.benchmarks.streets_label import (
    best_model,
    counted_labels,
    label_figures,
    labelled,
    mious_of,
    shown_photos,
)
from tests.benchmarks.streets_model import (
    kept_models,
    model_figures,
    save_curve,
    step_of,
    untaught_model,
    untrained_model,
)
from tests.benchmarks.streets_pairs import TERMS
from tests.benchmarks.streets_sizes import Sizes, chosen_sizes
from tests.benchmarks.streets_train import curate_figures, train_figures

PARTS = ("model", "label", "generate", "train", "curate")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sizes = chosen_sizes(quick=quick)
    folder, pictures = work_folder(sizes), ROOT / ("build" if quick else "docs") / "benchmarks"
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "model": lambda: _model(folder, sizes, pictures),
        "label": lambda: _label(folder, sizes, pictures),
        "generate": lambda: _generate(folder, sizes, pictures),
        "train": lambda: train_figures(folder, sizes),
        "curate": lambda: _curate(folder, sizes),
    }
    figures: dict[str, float] = {}
    with single_thread():
        for part in chosen:
            figures |= parts[part]()
    return {figure: value for figure, value in figures.items() if np.isfinite(value)}


def work_folder(sizes: Sizes) -> Path:
    """Where everything of these sizes lies."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(sizes)).encode()).hexdigest()[:8]
    folder = ROOT / "build" / "benchmarks" / f"streets-{sizes.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _model(folder: Path, sizes: Sizes, pictures: Path) -> dict[str, float]:
    figures = model_figures(folder, sizes)
    save_curve(folder, sizes, (), pictures / "streets_curve.png")
    shutil.copyfile(folder / "training" / "log.jsonl", pictures / "streets_training.jsonl")
    best, mious = best_model(folder, sizes, kept_models(folder, sizes))
    return figures | mious | {"model_best_images_seen": float(step_of(best) * sizes.batch)}


def _best(folder: Path, sizes: Sizes) -> Path:
    return best_model(folder, sizes, kept_models(folder, sizes))[0]


def _label(folder: Path, sizes: Sizes, pictures: Path) -> dict[str, float]:
    """Also the curve: mIoU of the labels of every model that the training kept on its way."""
    untaught = untaught_model(folder, sizes)
    others = {"untaught": untaught, "untrained": untrained_model(folder, sizes)}
    figures = label_figures(folder, sizes, model=_best(folder, sizes), others=others)
    photos, curve = shown_photos(sizes), []
    for kept in (untaught, *kept_models(folder, sizes)):
        counts = np.sum(counted_labels(labelled(folder, photos, kept, sizes=sizes), photos), axis=0)
        curve.append((step_of(kept) * sizes.batch, mious_of(counts, list(TERMS))[0]))
    save_curve(folder, sizes, curve, pictures / "streets_curve.png")
    return figures | {f"label_miou_7_after_{seen}_images": miou for seen, miou in curve}


def _generate(folder: Path, sizes: Sizes, pictures: Path) -> dict[str, float]:
    model = _best(folder, sizes)
    figures = generate_figures(folder, sizes, model=model)
    save_sheet(folder, sizes, pictures / "streets_generated.png", model=model)
    return figures


def _curate(folder: Path, sizes: Sizes) -> dict[str, float]:
    labels = labelled(folder, shown_photos(sizes), _best(folder, sizes), sizes=sizes)
    return curate_figures(folder, sizes, labels=labels)


if __name__ == "__main__":
    run("streets", measure, parts=PARTS, keeps=True)
