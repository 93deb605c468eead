"""The parts ``train`` and ``curate`` of bench_streets: a small segmenter, trained in several ways, judged on test photos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.curation.curate import curate
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.segmentation.evaluation import evaluate, save_evaluation
from diffumask_datasets.segmentation.settings import Source, TrainingSettings
from diffumask_datasets.segmentation.sources import open_source
from diffumask_datasets.segmentation.training import train
from tests.benchmarks.photos_data import street_classes, street_folder
from tests.benchmarks.photos_streets import LARGE
from tests.benchmarks.streets_label import counted_labels, ious_of, shown_photos
from tests.benchmarks.streets_sizes import Sizes

__all__ = ["CURATED", "WAYS", "Way", "curate_figures", "curated", "real_folder", "train_figures"]

TRAINING: Mapping[str, Any] = {
    "height": 96,
    "width": 128,
    "learning_rate": 1e-3,
    "scale": (0.75, 1.5),
    "colour": 0.2,
    "checkpoint_every": 100,
    "precision": "float32",
}
"""Settings of every segmenter: a small SegFormer from scratch."""

COMPOSE = {
    "kind": "compose",
    "objects": [20, 40],
    "scale": [0.7, 1.3],
    "min_quality": 0.0,
    "probability": 0.5,
    "stuff": ["sky", "building", "pole", "road", "pavement", "tree", "fence"],
}
"""Pastes cars, people and signs; street photos hold 7 to 26 parts of such."""

TENTH = 10
FOLDS = 3
EPOCHS = {"full": 60, "hours": 20, "quick": 1}
HUMAN, VEHICLE = ("pedestrian", "bicyclist"), ("car",)
"""What the paper's Cityscapes table counts together."""


@dataclass(frozen=True)
class Way:
    """A way to train: on what, with which augmentation, and after which other way."""

    name: str
    data: str
    augment: tuple[Mapping[str, Any], ...] = ()
    after: Way | None = None


SYNTHETIC = Way("synthetic", "generated")
WAYS = (
    Way("real", "train"),
    Way("tenth", "tenth"),
    SYNTHETIC,
    Way("synthetic_composed", "generated", (COMPOSE,)),
    Way("synthetic_then_tenth", "tenth", after=SYNTHETIC),
)
CURATED = (SYNTHETIC, Way("synthetic_curated", "curated"))


def train_figures(folder: Path, sizes: Sizes, ways: Sequence[Way] = WAYS) -> dict[str, float]:
    """Mean and deviation over seeds of each way's mIoU on the test photos; what is finished is not done again."""
    scores = {way.name: [_scores(way, seed, folder, sizes) for seed in sizes.seeds] for way in ways}
    figures: dict[str, float] = {}
    for name, found in scores.items():
        for what, values in _measured(found).items():
            figures |= {f"train_{name}_{what}": float(np.mean(values)), f"train_{name}_{what}_sd": _deviation(values)}
    return figures | _compared(figures)


def curate_figures(folder: Path, sizes: Sizes, *, labels: Path) -> dict[str, float]:
    """Finds what noise learning drops of generated pictures and of labelled photos, and what that changes.

    Args:
        folder: The work folder, with the generated pictures.
        sizes: Which photos, and how long segmenters are trained.
        labels: The dataset folder of the labelled photos.

    Returns:
        The share of pictures kept, a segmenter trained on them beside one trained on all, and mIoU of the labels of kept and
        of dropped photos.
    """
    source, kept = folder / "generated", curated(folder / "generated", folder / "curated", sizes)
    figures = {"curate_kept_share": _count(kept) / _count(source), **train_figures(folder, sizes, CURATED)}
    chosen = set(open_dataset(curated(labels, folder / "curated-labels", sizes)).split_of_ids())
    ids = list(open_dataset(labels).split_of_ids())
    counts = np.stack(counted_labels(labels, shown_photos(sizes)))
    for what, wanted in (("kept", True), ("dropped", False)):
        places = [place for place, one in enumerate(ids) if (one in chosen) is wanted]
        figures[f"curate_labels_{what}"] = float(len(places))
        if places:
            figures[f"curate_labels_{what}_miou"] = float(np.nanmean(ious_of(counts[places].sum(axis=0))))
    return figures


def curated(source: Path, output: Path, sizes: Sizes) -> Path:
    """What is left of a dataset folder after noise learning, or without it where there are too few; made where missing."""
    if not (output / "recipe.yaml").exists():
        curate(source, output, folds=FOLDS if _count(source) >= 2 * FOLDS else 0, epochs=EPOCHS[sizes.name])
    return output


def real_folder(folder: Path, sizes: Sizes, name: str) -> Path:
    """Links photos and masks into a plain folder, as ``diffumask train`` reads it.

    Args:
        folder: The work folder.
        sizes: How many photos.
        name: ``train``, its ``tenth``, or ``test``.

    Returns:
        The plain folder.
    """
    output = folder / "real" / name
    if (output / "id2label.json").exists():
        return output
    split, step = ("train", TENTH) if name == "tenth" else (name, 1)
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)
        files = sorted((street_folder() / kind / split).iterdir())[: sizes.photos]
        for path in files[::step]:
            link = output / kind / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
    names = {str(number): name for number, name in enumerate(street_classes(), start=1)}
    (output / "id2label.json").write_text(json.dumps(names), encoding="utf-8")
    return output


def _scores(way: Way, seed: int, folder: Path, sizes: Sizes) -> dict[str, Any]:
    output = folder / "scores" / f"{way.name}-{seed}"
    if not (output / "scores.json").exists():
        segmenter = train(_settings(way, seed, folder, sizes), _segmenter(way, seed, folder))
        test = open_source(Source.of(layout="folder", root=str(real_folder(folder, sizes, "test"))))
        save_evaluation(evaluate(segmenter, test), output)
    return json.loads((output / "scores.json").read_text(encoding="utf-8"))


def _settings(way: Way, seed: int, folder: Path, sizes: Sizes) -> TrainingSettings:
    made = folder / way.data
    real = way.data in ("train", "tenth")
    source = {"layout": "folder", "root": str(real_folder(folder, sizes, way.data))} if real else {"dataset": str(made)}
    fields = {**TRAINING, "classes": street_classes(), "steps": sizes.segmenter_steps, "augment": list(way.augment)}
    if way.after:
        _scores(way.after, seed, folder, sizes)
        fields["model"] = str(_segmenter(way.after, seed, folder))
    return TrainingSettings.of(sources=[source], seed=seed, **fields)


def _segmenter(way: Way, seed: int, folder: Path) -> Path:
    return folder / "segmenters" / f"{way.name}-{seed}"


def _measured(scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each figure of every seed."""
    found = [_figures_of(one) for one in scores]
    return {what: [one[what] for one in found] for what in found[0]}


def _figures_of(scores: Mapping[str, Any]) -> dict[str, float]:
    names, counts = list(scores["classes"]), np.array(scores["confusion"])
    ious = {name: scores["classes"][name]["iou"] or 0.0 for name in street_classes()}
    return {
        "miou_11": float(np.mean(list(ious.values()))),
        "miou_7": float(np.mean([ious[name] for name in LARGE])),
        "human": _iou_together(counts, names, HUMAN),
        "vehicle": _iou_together(counts, names, VEHICLE),
    }


def _iou_together(counts: npt.NDArray[np.int64], names: Sequence[str], group: Sequence[str]) -> float:
    member = np.isin(names, group)
    both = counts[np.ix_(member, member)].sum()
    either = counts[member].sum() + counts[:, member].sum() - both
    return float(both / max(1, either))


def _compared(figures: Mapping[str, float]) -> dict[str, float]:
    mious = {name: value for name, value in figures.items() if name.endswith("_miou_7")}
    pairs = {
        "train_synthetic_over_real": ("train_synthetic_miou_7", "train_real_miou_7", np.divide),
        "train_synthetic_then_tenth_gain": ("train_synthetic_then_tenth_miou_7", "train_tenth_miou_7", np.subtract),
        "train_compose_gain": ("train_synthetic_composed_miou_7", "train_synthetic_miou_7", np.subtract),
        "curate_gain": ("train_synthetic_curated_miou_7", "train_synthetic_miou_7", np.subtract),
    }
    return {
        name: float(how(mious[one], mious[other]))
        for name, (one, other, how) in pairs.items()
        if {one, other} <= mious.keys() and (how is np.subtract or mious[other])
    }


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _count(folder: Path) -> int:
    return open_dataset(folder).total
