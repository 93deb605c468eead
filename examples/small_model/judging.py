"""Trains the judge on the drawn world with its exact masks, and tests it: see ``--help``. It never meets a denoiser."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, COLOURS, Demand, Scene, render_scene
from diffumask_datasets.toybox.judge import JUDGE_FILE, Judge, Opinion, load_judge, save_judge
from examples.small_model.autoencoder import images_to_tensor, load_autoencoder
from examples.small_model.optimizers import MatrixDescent
from examples.small_model.training import Averaged, append_log, learning_rate, mixed_precision

__all__ = ["judge_accuracy", "judge_miou", "train_judge"]

PEAK_RATE = 3e-3
BATCH = 16
FIRST_SEED = 40_000_000
"""Seeds of the judge's scenes start here, clear of those that a denoiser is trained on."""

BLUR_SHARE = 0.5
DECODED_EVERY = 4
"""Each fourth batch has been through the autoencoder, whose look the judged images have."""

TEST_SCENES = 500


def _roughened(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Blurred (by shrinking) and noisy now and then: the judge must not live on crisp edges."""
    if rng.random() < BLUR_SHARE:
        side = int(rng.integers(48, 112))
        small = functional.interpolate(images, size=(side, side), mode="area")
        images = functional.interpolate(small, size=images.shape[-2:], mode="bilinear")
    return images + float(rng.uniform(0, 0.08)) * torch.randn_like(images)


def judge_loss(opinion: Opinion, scenes: Sequence[Scene]) -> Tensor:
    """Cross-entropy of pixels, names and background, added up."""
    colour_names = list(COLOURS)
    classes = torch.zeros(len(scenes), len(CLASS_NAMES))
    colours = torch.zeros(len(scenes), len(COLOURS))
    for row, scene in enumerate(scenes):
        for found in scene.objects:
            classes[row, CLASS_NAMES.index(found.class_name)] = 1
            colours[row, colour_names.index(found.colour)] = 1
    backgrounds = torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes])
    labels = torch.from_numpy(np.stack([scene.semantic for scene in scenes])).long()
    return (
        functional.cross_entropy(opinion.pixels, labels)
        + functional.binary_cross_entropy_with_logits(opinion.classes, classes)
        + functional.binary_cross_entropy_with_logits(opinion.colours, colours)
        + 0.2 * functional.cross_entropy(opinion.background, backgrounds)
    )


def train_judge(steps: int, output: Path, path: Path) -> None:
    """Trains for ``steps`` and writes the averaged weights to ``path``; log in ``output/judge.jsonl``."""
    torch.manual_seed(5)
    judge = Judge().train()
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autoencoder = load_autoencoder(TOYBOX / "vae")
    optimizer, average = MatrixDescent(judge, matrix_share=1.0), Averaged(judge, 0.99)
    for step in range(steps):
        first = FIRST_SEED + step * BATCH
        scenes = [render_scene(seed) for seed in range(first, first + BATCH)]
        images = images_to_tensor(np.stack([scene.image for scene in scenes]))
        if step % DECODED_EVERY == 0:
            with torch.no_grad():
                images = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample.clamp(-1, 1)
        images = _roughened(images, np.random.default_rng(first)).contiguous(memory_format=torch.channels_last)
        with mixed_precision(images.device):
            opinion = judge(images)
        loss = judge_loss(opinion.float(), scenes)
        optimizer.descend(loss, learning_rate(PEAK_RATE, step=step, steps=steps, warm_up=50))
        average.update(judge, step)
        if step % 50 == 49:
            append_log(output / "judge.jsonl", step=step + 1, loss=loss)
    save_judge(average.values, path)
    judge = load_judge(path)
    append_log(output / "judge.jsonl", step=steps, accuracy=judge_accuracy(judge), miou=judge_miou(judge))


def judge_accuracy(judge: Judge, *, count: int | None = None) -> float:
    """Share of single-object test scenes whose class the judge names."""
    names = [CLASS_NAMES[seed % len(CLASS_NAMES)] for seed in range(count or TEST_SCENES)]
    scenes = [render_scene(seed, split="test", demand=Demand(classes=[name])) for seed, name in enumerate(names)]
    verdicts = judge.look([scene.image for scene in scenes])
    return float(np.mean([verdict.best_class == name for verdict, name in zip(verdicts, names, strict=True)]))


def judge_miou(judge: Judge, *, count: int | None = None) -> float:
    """Mean IoU over background and the ten classes of the judge's masks of test scenes."""
    scenes = [render_scene(seed, split="test") for seed in range(count or TEST_SCENES)]
    verdicts = judge.look([scene.image for scene in scenes])
    size = 1 + len(CLASS_NAMES)
    confusion: NDArray[np.int64] = np.zeros((size, size), dtype=np.int64)
    for scene, verdict in zip(scenes, verdicts, strict=True):
        pairs = scene.semantic.astype(np.int64) * size + verdict.label
        confusion += np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    both = np.diag(confusion)
    return float(np.mean(both / (confusion.sum(0) + confusion.sum(1) - both)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m examples.small_model.judging", description=__doc__)
    parser.add_argument("--steps", type=int, default=1200, help="optimizer steps")
    parser.add_argument("--output", type=Path, default=Path("build/toybox"), help="folder of logs")
    parser.add_argument("--judge", type=Path, default=JUDGE_FILE, help="file to write")
    options = parser.parse_args(arguments)
    train_judge(options.steps, options.output, options.judge)


if __name__ == "__main__":
    main()
