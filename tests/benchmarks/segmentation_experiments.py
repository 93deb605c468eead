"""The paper's experiments on the toybox, each as the rows it trains on and the rows it is judged on."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diffumask_datasets.segmentation.evaluation import evaluate, save_evaluation
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import Hardware, train
from tests.benchmarks.segmentation_data import CLASSES, FAR, NEAR, UNSEEN, Data, Sizes, augmentations

TRAINING = {"model": "segformer-small", "batch_size": 16, "scale": (0.7, 1.4), "checkpoint_every": 200}


@dataclass(frozen=True)
class Experiment:
    """``parts`` gives (rows, fields of the source) for a repeat; ``test`` the rows that judge it."""

    parts: Callable[[Data, int], list[tuple[Any, dict[str, Any]]]]
    test: Callable[[Data], Any] = lambda data: data.real("test")


def experiments(sizes: Sizes) -> dict[str, Experiment]:
    """All of them by name, the headline first."""
    tenth = max(1, sizes.real // 10)
    found = {
        "real": Experiment(lambda data, _: [(data.real("train"), {})]),
        "real 10 %": Experiment(lambda data, _: [(_some(data.real("train"), tenth), {})]),
        **{
            f"synthetic {count}": Experiment(lambda data, _, n=count: [(_some(data.synthetic(), n), {})])
            for count in sizes.synthetic
        },
        "synthetic + 10 % real": Experiment(
            lambda data, _: [
                (data.synthetic(), {"weight": 0.5}),
                (_some(data.real("train"), tenth), {"weight": 0.5}),
            ]
        ),
        "open vocabulary": Experiment(
            lambda data, _: [
                (data.real("train"), {"rename": dict.fromkeys(UNSEEN, "withheld"), "others": "ignore", "weight": 0.5}),
                (data.unseen_synthetic(), {"weight": 0.5}),
            ]
        ),
        "near real → far": Experiment(lambda data, _: [(data.far("train", NEAR), {})], lambda d: d.far("test", FAR)),
        "synthetic → far": Experiment(lambda data, _: [(data.synthetic(), {})], lambda d: d.far("test", FAR)),
        "all real → far": Experiment(lambda data, _: [(data.real("train"), {})], lambda d: d.far("test", FAR)),
    }
    return found | _ablations(sizes)


def _ablations(sizes: Sizes) -> dict[str, Experiment]:
    count = sizes.ablation
    steps = {"steps": sizes.steps, **TRAINING}

    def masks(**settings: Any) -> Experiment:
        return Experiment(lambda data, _: [(data.with_masks(_some(data.synthetic(), count), **settings), {})])

    def noise(share: float) -> Experiment:
        return Experiment(
            lambda data, seed: [(data.believed(_some(data.synthetic(), count), share, seed=seed, settings=steps), {})]
        )

    found = {
        "γ adaptive": masks(),
        "γ 0.4": masks(threshold=0.4),
        "γ 0.5": masks(threshold=0.5),
        "γ 0.6": masks(threshold=0.6),
        "without CRF": masks(refinement=None),
        "noise α 0.3": noise(0.3),
        "noise α 0.5": noise(0.5),
        "noise α 0.7": noise(0.7),
        "prompts plain": Experiment(lambda data, _: [(data.synthetic("plain"), {})]),
    }
    for name in augmentations():
        found[f"with {name}"] = Experiment(
            lambda data, _, n=name: [(_some(data.synthetic(), count), {}), (data.synthetic(augment=(n,)), {})]
        )
    return found


def run_experiment(name: str, seed: int, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Its figures; trained and judged only where they are not there yet. What is missing goes on where it stopped."""
    data = Data(folder, sizes)
    experiment = experiments(sizes)[name]
    parts = experiment.parts(data, seed)
    sources = [{"dataset": f"part {number}", **fields} for number, (_, fields) in enumerate(parts)]
    settings = TrainingSettings.of(sources=sources, classes=CLASSES, seed=seed, steps=sizes.steps, **TRAINING)
    stem = f"{name.replace(' ', '_').replace('→', 'to').replace('%', 'percent')}-{seed}"
    model = folder / "models" / stem
    segmenter = train(settings, model, data=[labelled_of(rows) for rows, _ in parts], hardware=Hardware("cpu"))
    digest = yaml.safe_load((model / "training.yaml").read_text())["digest"]
    scores = folder / "scores" / f"{stem}-{digest}"
    if not scores.exists():
        test = labelled_of(experiment.test(data))
        save_evaluation(evaluate(segmenter, test), scores)
    figures: dict[str, Any] = json.loads((scores / "scores.json").read_text())
    return figures


def run_quietly(job: tuple[str, int, Sizes, Path]) -> tuple[str, int, dict[str, Any], float]:
    """One experiment in a process of its own, on one thread: two of them are faster than one on two."""
    import torch

    import diffumask_datasets  # noqa: F401 - registers the builder in this process

    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    name, seed, sizes, folder = job
    figures = run_experiment(name, seed, sizes, folder)
    return name, seed, figures, time.perf_counter() - started


def unseen_mean(figures: Mapping[str, Any]) -> float:
    """Mean IoU of the unseen classes."""
    return sum(figures["classes"][name]["iou"] or 0.0 for name in UNSEEN) / len(UNSEEN)


def _some(rows: Any, count: int) -> Any:
    return rows.select(range(min(count, len(rows))))
