"""What a segmenter trained on our images scores on real ones, here drawn ones. Run by ``make bench-segmentation``.

Also writes the curve ``segmentation.png`` beside the figures. Stopped and run again, it goes on where it stopped: every
model and every score lies under ``build/benchmarks/segmentation``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffumask_datasets.segmentation.metrics import Tally
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.toybox import CLASS_NAMES
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.segmentation_data import FULL, QUICK, Data, Sizes
from tests.benchmarks.segmentation_experiments import experiments, run_quietly, unseen_mean

PROCESSES = 2
QUICK_EXPERIMENTS = ("real", "real 10 %", "synthetic 20", "synthetic + 10 % real", "open vocabulary", "γ 0.5")

Results = Mapping[str, Sequence[dict[str, Any]]]


def measure(quick: bool) -> Mapping[str, float]:
    sizes = QUICK if quick else FULL
    folder = ROOT / "build" / "benchmarks" / ("segmentation-quick" if quick else "segmentation")
    data = Data(folder, sizes)
    data.prepare(ablations=not quick)
    results = _results(sizes, folder, QUICK_EXPERIMENTS if quick else tuple(experiments(sizes)))
    _print_table(results)
    _save_curve(results, sizes, (ROOT / "build" if quick else ROOT / "docs") / "benchmarks" / "segmentation.png")
    figures = _headline(results, sizes)
    figures |= _figures_of_ablations(results)
    return {**figures, "metrics_over_forward": _metrics_over_forward(folder, data, quick=quick)}


def _results(sizes: Sizes, folder: Path, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    jobs = [(name, seed, sizes, folder) for seed in range(sizes.repeats) for name in names]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with multiprocessing.get_context("spawn").Pool(PROCESSES, maxtasksperchild=1) as pool:
        for done, (name, seed, figures, seconds) in enumerate(pool.imap_unordered(run_quietly, jobs), start=1):
            results[name].append(figures)
            print(f"{done}/{len(jobs)}  {name}, repeat {seed}: mIoU {100 * figures['miou']:.1f}  ({seconds:.0f} s)")
    return results


def _headline(results: Results, sizes: Sizes) -> dict[str, float]:
    synthetic = f"synthetic {max(sizes.synthetic)}"
    figures: dict[str, float] = {}
    for figure, name in (
        ("real_miou", "real"),
        ("real_10_miou", "real 10 %"),
        ("synthetic_miou", synthetic),
        ("synthetic_plus_10_real", "synthetic + 10 % real"),
    ):
        figures |= {figure: _mean(results[name]), f"{figure}_sd": _deviation(results[name])}
    gaps = {name: _class_mean(results["real"], name) - _class_mean(results[synthetic], name) for name in CLASS_NAMES}
    real_unseen = float(np.mean([unseen_mean(found) for found in results["real"]]))
    unseen = float(np.mean([unseen_mean(found) for found in results["open vocabulary"]]))
    figures |= {
        "synthetic_over_real": figures["synthetic_miou"] / figures["real_miou"],
        "best_class_gap": min(gaps.values()),
        "synthetic_10_real_over_real_points": 100 * (figures["synthetic_plus_10_real"] - figures["real_miou"]),
        "synthetic_10_real_over_10_real_points": 100 * (figures["synthetic_plus_10_real"] - figures["real_10_miou"]),
        "unseen_over_real": unseen / real_unseen if real_unseen else float("nan"),
    }
    for count in sizes.synthetic:
        if f"synthetic {count}" in results:
            figures[f"synthetic_{count}_miou"] = _mean(results[f"synthetic {count}"])
    return figures


def _figures_of_ablations(results: Results) -> dict[str, float]:
    """Every other experiment under a name of plain letters."""
    plain = str.maketrans({"γ": "gamma", "α": "alpha", "→": "to", " ": "_", ".": "", "%": "percent"})
    figures = {}
    for name, found in results.items():
        if name.startswith(("γ", "without", "noise", "prompts", "with ")) or "→" in name:
            figure = name.translate(plain)
            figures |= {f"{figure}_miou": _mean(found), f"{figure}_sd": _deviation(found)}
    return figures


def _metrics_over_forward(folder: Path, data: Data, *, quick: bool) -> float:
    """Seconds of counting over seconds of predicting, the same images, in turns."""
    segmenter = Segmenter.load(folder / "models" / "real-0", device="cpu")
    images = [np.asarray(row["image"]) for row in data.real("test").select(range(min(32, data.sizes.test)))]
    labels = [np.asarray(row["label"]) for row in data.real("test").select(range(len(images)))]
    predicting, counting = [], []
    for _ in range(3 if quick else 9):
        started = time.perf_counter()
        masks = list(segmenter.predict(images))
        between = time.perf_counter()
        tally = Tally(len(segmenter.classes))
        for label, mask in zip(labels, masks, strict=True):
            tally.add(label, mask)
        predicting.append(between - started)
        counting.append(time.perf_counter() - between)
    return float(np.median(np.array(counting) / np.array(predicting)))


def _print_table(results: Results) -> None:
    print(
        f"\n{'experiment':24} {'mIoU':>6} {'sd':>5}  {'boundary':>8}   " + " ".join(f"{n[:8]:>8}" for n in CLASS_NAMES)
    )
    for name, found in results.items():
        edges = 100 * float(np.mean([figures["mean_boundary_iou"] or 0.0 for figures in found]))
        classes = " ".join(f"{100 * _class_mean(found, label):8.1f}" for label in CLASS_NAMES)
        print(f"{name:24} {100 * _mean(found):6.1f} {100 * _deviation(found):5.1f}  {edges:8.1f}   {classes}")
    print()


def _save_curve(results: Results, sizes: Sizes, path: Path) -> None:
    counts = [count for count in sizes.synthetic if f"synthetic {count}" in results]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    means = [100 * _mean(results[f"synthetic {count}"]) for count in counts]
    spread = [100 * _deviation(results[f"synthetic {count}"]) for count in counts]
    axes.errorbar(counts, means, yerr=spread, marker="o", capsize=3, label="synthetic only")
    colours = itertools.cycle(("tab:green", "tab:orange", "tab:grey"))
    for name, colour in zip(("real", "synthetic + 10 % real", "real 10 %"), colours, strict=False):
        axes.axhline(100 * _mean(results[name]), color=colour, linestyle="--", label=name)
    axes.set(xscale="log", xlabel="synthetic images", ylabel="mIoU on test scenes, %", ylim=(0, 100))
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _mean(found: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([figures["miou"] for figures in found]))


def _deviation(found: Sequence[Mapping[str, Any]]) -> float:
    return float(np.std([figures["miou"] for figures in found], ddof=1)) if len(found) > 1 else 0.0


def _class_mean(found: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([figures["classes"][name]["iou"] or 0.0 for figures in found]))


if __name__ == "__main__":
    run("segmentation", measure)
