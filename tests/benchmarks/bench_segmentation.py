"""What a segmenter trained on our images scores on real ones, here drawn ones. Run by ``make bench-segmentation``.

``PARTS=headline,open`` does those parts alone, in the order of ``segmentation_experiments.PARTS``; ``cost`` is what
counting costs beside predicting, ``instances`` the AP of a Mask2Former on touching objects with and without compositions.
Stopped at any moment and run again, it goes on where it stopped: images, models and scores are in
``build/benchmarks/segmentation``. The figures are of every experiment whose repeats are all there. Also writes the curve
``segmentation.png``; with ``masks``, the masks that the ablations train on, ``ablated_masks.png``; with ``augmentations``,
augmented images, ``augmented.png``; with ``compose``, test scenes as a model sees them that was trained with and without
compositions, ``composed_errors.png`` (where ``prompts`` is done too); with ``noise``, some of the images that noise
learning drops, ``dropped_masks.png``.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffumask_datasets.augmentation.scene import scene_of
from diffumask_datasets.generation.workers import Progress, Work, WorkerPool
from diffumask_datasets.toybox import CLASS_NAMES
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.segmentation_augmentations import TOUCHING
from tests.benchmarks.segmentation_cost import metrics_over_forward
from tests.benchmarks.segmentation_data import PROCESSES, Data, Kept
from tests.benchmarks.segmentation_experiments import (
    FULL,
    PARTS,
    QUICK,
    UNSEEN,
    Experiment,
    Repeat,
    Sizes,
    experiments,
    plain,
)
from tests.benchmarks.segmentation_instances import FULL as INSTANCES_FULL
from tests.benchmarks.segmentation_instances import QUICK as INSTANCES_QUICK
from tests.benchmarks.segmentation_instances import instance_gain
from tests.benchmarks.segmentation_judged import judged_ious
from tests.benchmarks.segmentation_pictures import save_augmented, save_dropped, save_errors, save_masks

COST, INSTANCES = "cost", "instances"

HEADLINE = {
    "real": "real_miou",
    "real 10 %": "real_10_miou",
    "synthetic": "synthetic_miou",
    "synthetic + 10 % real": "synthetic_plus_10_real",
    "synthetic → + 10 % real": "synthetic_then_10_real",
}
"""The names of the headline's experiments and of their figures."""

OPEN = {
    "open vocabulary": "",
    "open vocabulary all": "_all",
    "open vocabulary tuned": "_tuned",
    "synthetic": "_synthetic",
}
"""The open-vocabulary experiments and what their figures end in; the last, without any real mask, is the paper's."""

Results = Mapping[str, Sequence[dict[str, Any]]]
"""The figures of every repeat of an experiment, by its name."""


@dataclass(frozen=True)
class Task:
    """What one process does alone; ``do`` takes the folder that everything lies in."""

    name: str
    do: Callable[[Path], object]


def measure(quick: bool, parts: Sequence[str]) -> Mapping[str, float]:
    sizes = QUICK if quick else FULL
    made, folder = experiments(sizes), ROOT / "build" / "benchmarks" / f"segmentation{'-quick' if quick else ''}"
    with WorkerPool[Task, float](_worker, [(folder,)] * PROCESSES) as crew:
        for part in (part for part in PARTS if part in parts):
            _do_part(part, made[part], sizes, folder, crew)
            _print_table(_results(made[part], sizes, folder))
    results = _results(itertools.chain.from_iterable(made.values()), sizes, folder)
    pictures = (ROOT / "build" if quick else ROOT / "docs") / "benchmarks"
    _save_curve(results, sizes, pictures / "segmentation.png")
    if "masks" in parts:
        save_masks(made["masks"], folder, pictures / "ablated_masks.png")
    if "augmentations" in parts:
        save_augmented(made["augmentations"], folder, pictures / "augmented.png")
    if "compose" in parts:
        (seen,) = (member for member in made["compose"] if member.name == "one object composed as seen")
        save_errors(made["prompts"][0], seen, folder, pictures / "composed_errors.png")
    if "noise" in parts:
        save_dropped(made["noise"], folder, pictures / "dropped_masks.png")
    judged = _judged(made["noise"], folder) if "noise" in parts else {}
    cost = metrics_over_forward(quick=quick) if COST in parts else {}
    things = _instances(made["prompts"][0], folder, quick=quick) if INSTANCES in parts else {}
    found = {**_headline(results), **_longer(results), **_open_vocabulary(results), **_others(results)}
    return {**found, **judged, **cost, **things}


def _do_part(
    part: str, members: Sequence[Experiment], sizes: Sizes, folder: Path, crew: WorkerPool[Task, float]
) -> None:
    repeats = [Repeat(member, seed) for seed in range(sizes.repeats) for member in members]
    pending = [repeat for repeat in repeats if repeat.figures(folder) is None]
    print(f"{part}: {len(repeats) - len(pending)} of {len(repeats)} trainings are there", flush=True)
    here = dict.fromkeys(data for repeat in pending for data in _grounds(repeat.experiment))
    made: set[Data] = set()
    for data in here:  # each followed by all that needs no more
        _make_here(data, folder)
        made.add(data)
        ready = [repeat for repeat in pending if made.issuperset(_grounds(repeat.experiment))]
        pending = [repeat for repeat in pending if repeat not in ready]
        derived = dict.fromkeys(
            one for repeat in ready for data in repeat.experiment.data for one in (*data.needs, data)
        )
        _do_all([Task(f"data {type(one).__name__}", one.make) for one in derived if one.needs], crew)
        for fine_tunes in (False, True):  # what is fine-tuned must be there
            due = [repeat for repeat in ready if bool(repeat.experiment.start) == fine_tunes]
            _do_all([Task(f"{repeat.experiment.name}, repeat {repeat.seed}", repeat.do) for repeat in due], crew)


def _grounds(experiment: Experiment) -> list[Data]:
    """What its data is made from: drawn, or generated by processes of their own, and so made in this one."""
    return [one for data in experiment.data for one in (*data.needs, data) if not one.needs]


def _make_here(data: Data, folder: Path) -> None:
    started = time.perf_counter()
    data.make(folder)
    print(f"data {type(data).__name__}  ({time.perf_counter() - started:.0f} s)", flush=True)


def _do_all(tasks: Sequence[Task], crew: WorkerPool[Task, float]) -> None:
    futures = {crew.submit(task): task for task in tasks}
    for done, future in enumerate(as_completed(futures), start=1):
        print(f"{done}/{len(tasks)}  {futures[future].name}  ({future.result():.0f} s)", flush=True)


def _worker(folder: Path) -> Work[Task, float]:
    """One thread: two processes are faster than one on two."""
    import torch

    import diffumask_datasets  # noqa: F401 - registers the builder in this process

    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)

    def work(task: Task, _: Progress) -> float:
        started = time.process_time()
        task.do(folder)
        return time.process_time() - started

    return work


def _results(members: Iterable[Experiment], sizes: Sizes, folder: Path) -> Results:
    """Of those whose repeats are all there."""
    found = {member.name: [Repeat(member, seed).figures(folder) for seed in range(sizes.repeats)] for member in members}
    return {
        name: [figures for figures in repeats if figures]
        for name, repeats in found.items()
        if all(figures is not None for figures in repeats)
    }


def _headline(results: Results) -> dict[str, float]:
    if not HEADLINE.keys() <= results.keys():
        return {}
    figures: dict[str, float] = {}
    for name, figure in HEADLINE.items():
        figures |= {figure: _mean(results[name]), f"{figure}_sd": _deviation(results[name])}
    gaps = [_class_mean(results["real"], name) - _class_mean(results["synthetic"], name) for name in CLASS_NAMES]
    return figures | {
        "synthetic_over_real": figures["synthetic_miou"] / figures["real_miou"],
        "best_class_gap": min(gaps),
        "synthetic_10_real_over_real_points": 100 * (figures["synthetic_then_10_real"] - figures["real_miou"]),
        "synthetic_10_real_over_10_real_points": 100 * (figures["synthetic_then_10_real"] - figures["real_10_miou"]),
    }


def _longer(results: Results) -> dict[str, float]:
    """What synthetic images reach of real ones in longer trainings."""
    lengths = [name.removeprefix("real ") for name in results if name.startswith("real ") and name.endswith(" steps")]
    return {
        f"synthetic_over_real_{plain(length)}": _mean(results[f"synthetic {length}"]) / _mean(results[f"real {length}"])
        for length in lengths
        if f"synthetic {length}" in results
    }


def _open_vocabulary(results: Results) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, ending in OPEN.items():
        if {"real", name} <= results.keys():
            found = _seen_and_unseen(results["real"], results[name])
            figures |= {f"{figure}{ending}": number for figure, number in found.items()}
    return figures


def _seen_and_unseen(real: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> dict[str, float]:
    seen = [name for name in CLASS_NAMES if name not in UNSEEN]
    unseen_iou, seen_iou = (float(np.mean([_class_mean(found, name) for name in names])) for names in (UNSEEN, seen))
    known = float(np.mean([_class_mean(real, name) for name in UNSEEN]))
    return {
        "seen_iou": seen_iou,
        "unseen_iou": unseen_iou,
        "harmonic_iou": 2 * seen_iou * unseen_iou / max(seen_iou + unseen_iou, 1e-9),
        "unseen_over_real": unseen_iou / known if known else float("nan"),
    }


def _others(results: Results) -> dict[str, float]:
    """Every other experiment under a name of plain letters."""
    figures = {}
    for name, found in results.items():
        if name not in (*HEADLINE, *OPEN):
            figures |= {f"{plain(name)}_miou": _mean(found), f"{plain(name)}_sd": _deviation(found)}
    return figures


def _judged(members: Sequence[Experiment], folder: Path) -> dict[str, float]:
    """What the judge says of the masks that noise learning confirms and flags."""
    chosen = {member.name: data for member in members for data in member.data if isinstance(data, Kept)}
    figures = {}
    for name, ious in zip(chosen, judged_ious(list(chosen.values()), folder), strict=True):
        figures |= {
            f"{plain(name)}_{what}_iou": value for what, value in zip(("confirmed", "doubted"), ious, strict=True)
        }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _instances(plain: Experiment, folder: Path, *, quick: bool) -> dict[str, float]:
    """What compositions bring for instances, trained on the images of an experiment."""
    data = plain.parts[0].data
    data.make(folder)
    scenes = [scene_of(row) for row in data.rows(folder)]
    return dict(instance_gain(scenes, TOUCHING, INSTANCES_QUICK if quick else INSTANCES_FULL))


def _print_table(results: Results) -> None:
    classes = " ".join(f"{name[:8]:>8}" for name in CLASS_NAMES)
    print(f"\n{'experiment':24} {'mIoU':>6} {'sd':>5}  {'boundary':>8}   {classes}")
    for name, found in results.items():
        edges = 100 * float(np.mean([figures["mean_boundary_iou"] or 0.0 for figures in found]))
        classes = " ".join(f"{100 * _class_mean(found, label):8.1f}" for label in CLASS_NAMES)
        print(f"{name:24} {100 * _mean(found):6.1f} {100 * _deviation(found):5.1f}  {edges:8.1f}   {classes}")
    print(flush=True)


def _save_curve(results: Results, sizes: Sizes, path: Path) -> None:
    names = {count: "synthetic" if count == sizes.images else f"synthetic {count}" for count in sizes.synthetic}
    counts = [count for count, name in names.items() if name in results]
    if len(counts) < 2:
        return
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    means = [100 * _mean(results[names[count]]) for count in counts]
    spread = [100 * _deviation(results[names[count]]) for count in counts]
    axes.errorbar(counts, means, yerr=spread, marker="o", capsize=3, label="synthetic only")
    colours = {"real": "tab:green", "synthetic + 10 % real": "tab:orange", "real 10 %": "tab:grey"}
    for name, colour in colours.items():
        if name in results:
            axes.axhline(100 * _mean(results[name]), color=colour, linestyle="--", label=name)
    axes.set(xscale="log", xlabel="synthetic images", ylabel="mIoU on test scenes, %")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.legend(loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _mean(found: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([figures["miou"] for figures in found]))


def _deviation(found: Sequence[Mapping[str, Any]]) -> float:
    return float(np.std([figures["miou"] for figures in found], ddof=1)) if len(found) > 1 else 0.0


def _class_mean(found: Sequence[Mapping[str, Any]], name: str) -> float:
    # None where neither masks nor predictions show the class.
    return float(np.mean([figures["classes"][name]["iou"] or 0.0 for figures in found]))


if __name__ == "__main__":
    # Under the name by which the workers find it.
    from tests.benchmarks import bench_segmentation

    run("segmentation", bench_segmentation.measure, parts=(*PARTS, COST, INSTANCES), keeps=True)
