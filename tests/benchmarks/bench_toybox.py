"""How well the shipped model follows prompts, and how well its attention points at objects. Run by ``make bench-toybox``.

Generated images and their heat maps are judged by a network trained on exact masks (``toybox/judge.py``); on drawn scenes
``diffumask tune-attention`` measures the heat maps. ``PARTS=sampler`` compares schedulers and numbers of steps
(``toybox_sampler.py``). Writes the contact sheet ``docs/toybox.png`` too, in
``build/benchmarks`` when quick.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from PIL import Image

from diffumask_datasets.attention.search import best_threshold_iou
from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.toybox import CLASS_NAMES, COLOURS, Demand, render_scene
from diffumask_datasets.toybox.captions import with_article
from diffumask_datasets.toybox.judge import Judge, Verdict, load_judge
from examples.small_model.judging import judge_accuracy, judge_miou
from tests.benchmarks import mask_methods as methods
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.toybox_sampler import sampler_figures

SHEET_SEEDS = 8


PARTS = ("model", "sampler")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    figures = _of_the_model(quick=quick) if "model" in chosen else {}
    return {**figures, **(sampler_figures(quick=quick) if "sampler" in chosen else {})}


def _of_the_model(*, quick: bool) -> dict[str, float]:
    judge = load_judge()
    scenes = 100 if quick else 500
    figures = {
        "judge_accuracy_rendered": judge_accuracy(judge, count=scenes),
        "judge_miou_rendered": judge_miou(judge, count=scenes),
    }
    with tempfile.TemporaryDirectory() as folder:
        figures |= _single_figures(judge, folder, per_class=4 if quick else 24, quick=quick)
        figures |= _colour_figures(judge, folder, rounds=1 if quick else 3)
        figures |= _pair_figures(judge, folder, count=15 if quick else 90)
    figures |= _rendered_figures(count=10 if quick else 200)
    return {**figures, **_model_figures(), "scenes_per_second": _scenes_per_second(100 if quick else 400)}


def _generate(folder: str, prompts: Sequence[str] | None, count: int, **fields: Any) -> Any:
    how: dict[str, Any] = {"prompts": list(prompts)} if prompts else {}
    return load_dataset(
        "diffumask",
        classes=list(CLASS_NAMES),
        num_samples=count,
        split="train",
        num_proc=2,
        keep_heat_maps=True,
        cache_dir=f"{folder}/datasets",
        store=f"{folder}/store",
        **how,
        **fields,
    )


def _judged(dataset: Any, judge: Judge) -> list[Verdict]:
    return judge.look([decode_image(row["image"]) for row in dataset])


def _single_figures(judge: Judge, folder: str, *, per_class: int, quick: bool) -> dict[str, float]:
    """Plain prompts, one class each; also times them and lays out the contact sheet."""
    started = time.perf_counter()
    prompts = [f"a photo of {with_article(name)}" for name in CLASS_NAMES]
    dataset = _generate(folder, prompts, per_class * len(CLASS_NAMES))
    seconds = time.perf_counter() - started
    _write_sheet(dataset, (ROOT / "build" / "benchmarks" if quick else ROOT / "docs") / "toybox.png")
    right: dict[str, list[bool]] = {name: [] for name in CLASS_NAMES}
    overlaps, mask_overlaps = [], []
    for row, verdict in zip(dataset, _judged(dataset, judge), strict=True):
        asked = row["heat_maps"]["category"][0]
        name = CLASS_NAMES[asked - 1]
        right[name].append(verdict.best_class == name)
        if verdict.best_class == name and (seen := verdict.label == asked).any():
            overlaps.append(best_threshold_iou(decode_label(row["heat_maps"]["map"][0]), seen)[0])
            mask_overlaps.append(iou(decode_label(row["label"]) == asked, seen))
    accuracies = {name: float(np.mean(found)) for name, found in right.items()}
    for name, accuracy in accuracies.items():
        print(f"  {name:10} {accuracy:.2f}")
    return {
        "class_accuracy_mean": float(np.mean(list(accuracies.values()))),
        "class_accuracy_min": min(accuracies.values()),
        "heatmap_iou_generated": float(np.mean(overlaps)) if overlaps else 0.0,
        "mask_iou_generated": float(np.mean(mask_overlaps)) if mask_overlaps else 0.0,
        "labelled_images_per_second_2_processes": dataset.num_rows / seconds,
    }


def _rendered_figures(*, count: int) -> dict[str, float]:
    """Heat maps of held-out drawn scenes that the model is shown, at the best threshold, as the recipe reads them."""
    recipe, model = prepare(Recipe.of(classes=CLASS_NAMES)), load_model("toybox", device="cpu")
    assert isinstance(model, Observer)
    figures = {}
    with single_thread():
        for name, counts in (("single", (1,)), ("multi", (2, 3))):
            demands = [Demand(count=counts[number % len(counts)]) for number in range(count)]
            shown = [methods.show(model, k, demand=demand, recipe=recipe) for k, demand in enumerate(demands)]
            ious = [iou for item in shown for iou in methods.best_raw(item, methods.our_heat(item, recipe))]
            figures[f"heatmap_iou_{name}"] = float(np.mean(ious))
    return figures


def _colour_figures(judge: Judge, folder: str, *, rounds: int) -> dict[str, float]:
    asked = [(colour, name) for name in CLASS_NAMES for colour in COLOURS]
    dataset = _generate(folder, [f"a photo of {with_article(f'{c} {n}')}" for c, n in asked], rounds * len(asked))
    verdicts = _judged(dataset, judge)
    wanted = asked * rounds
    return {
        "colour_accuracy": float(np.mean([v.best_colour == c for v, (c, _) in zip(verdicts, wanted, strict=True)])),
        "class_accuracy_coloured": float(
            np.mean([v.best_class == n for v, (_, n) in zip(verdicts, wanted, strict=True)])
        ),
    }


def _pair_figures(judge: Judge, folder: str, *, count: int) -> dict[str, float]:
    pairs = list(combinations(CLASS_NAMES, 2))
    # A stride that shares no factor with 45 visits all pairs before it repeats one.
    asked = [pairs[(7 * number) % len(pairs)] for number in range(min(count, len(pairs)))]
    dataset = _generate(folder, [f"a photo of {with_article(a)} and {with_article(b)}" for a, b in asked], count)
    wanted = [set(asked[number % len(asked)]) for number in range(count)]
    verdicts = _judged(dataset, judge)
    return {"two_object_accuracy": float(np.mean([w <= v.classes for v, w in zip(verdicts, wanted, strict=True)]))}


def _write_sheet(dataset: Any, path: Path) -> None:
    """Ten classes in rows, eight seeds in columns."""
    count = len(CLASS_NAMES)
    images = [decode_image(row["image"]) for row in dataset.select(range(min(len(dataset), SHEET_SEEDS * count)))]
    rows = [np.concatenate(images[number::count], axis=1) for number in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path, optimize=True)


def _model_figures() -> dict[str, float]:
    facts = json.loads((TOYBOX / "training.json").read_text())
    size = sum(file.stat().st_size for file in TOYBOX.rglob("*") if file.is_file())
    return {"weights_mb": size / 1e6, "images_seen": facts["images_seen"]}


def _scenes_per_second(count: int) -> float:
    started = time.perf_counter()
    for seed in range(count):
        render_scene(seed)
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    run("toybox", measure, parts=PARTS, keeps=True)
