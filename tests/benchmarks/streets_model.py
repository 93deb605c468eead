"""The part ``model`` of bench_streets: a small text-to-image model of crops of street photos, and its curve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from matplotlib.figure import Figure

from diffumask_datasets.models.reference import TOYBOX
from examples.small_model.autoencoder import images_to_tensor, load_autoencoder, measure_psnr, train_autoencoder
from examples.small_model.pairs import images_of, open_pairs
from examples.small_model.progress import read_losses
from examples.small_model.train import main as train_model
from tests.benchmarks.photos_data import street_classes
from tests.benchmarks.streets_pairs import street_vocabulary, write_pairs
from tests.benchmarks.streets_sizes import Sizes

__all__ = ["kept_models", "model_figures", "save_curve", "step_of", "untaught_model", "untrained_model"]

_MEASURED = 64
"""Crops on which the autoencoder is measured, the last ones."""

_SAVE_EVERY = 25


def model_figures(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Writes the pairs, and trains autoencoder and denoiser, each as far as it is not there yet."""
    pairs = write_pairs(folder / "pairs", sizes)
    autoencoder, figures = _autoencoder(folder, pairs, sizes)
    _train(folder / "training", pairs, sizes, autoencoder=autoencoder)
    facts = json.loads((folder / "training" / "model" / "training.json").read_text(encoding="utf-8"))
    losses = [loss for _, loss in _losses(folder)]
    return {
        **figures,
        "model_pairs": float(len(list(pairs.glob("*.txt")))),
        "model_pixels": float(sizes.pixels),
        "model_parameters": float(facts["parameters"]),
        "model_images_seen": float(facts["images_seen"]),
        "model_loss_first": losses[0],
        "model_loss_last": losses[-1],
    }


def untrained_model(folder: Path, sizes: Sizes) -> Path:
    """The pipeline as it is before its training, but for one step of it."""
    untrained, latents = folder / "untrained", folder / "training" / "latents.safetensors"
    if latents.exists() and not untrained.exists():
        untrained.mkdir()
        shutil.copy(latents, untrained)
    pairs = write_pairs(folder / "pairs", sizes)
    _train(untrained, pairs, sizes, autoencoder=_autoencoder(folder, pairs, sizes)[0], steps=1)
    return untrained / "model"


def untaught_model(folder: Path, sizes: Sizes) -> Path:
    """The pipeline as it was before its attention was taught which classes captions name."""
    return folder / "training" / f"model-{sizes.taught_from:07d}"


def kept_models(folder: Path, sizes: Sizes) -> list[Path]:
    """The models of the training, in its order, from the first whose attention was taught on; the last one is its end.

    Raises:
        SystemExit: it has not come to its end.
    """
    training = folder / "training"
    if not (training / "model").is_dir():
        raise SystemExit(f"no model in {folder}: run PARTS=model first")
    kept = sorted(path for path in training.glob("model-*") if path.suffix != ".partial")
    between = [path for path in kept if sizes.taught_from < int(path.name.rpartition("-")[2]) < sizes.steps]
    return [*between, training / "model"]


def step_of(model: Path) -> int:
    """The optimizer steps of a model."""
    facts = json.loads((model / "training.json").read_text(encoding="utf-8"))
    return int(facts["images_seen"]) // int(facts["batch"])


def save_curve(folder: Path, sizes: Sizes, mious: Sequence[tuple[int, float]], path: Path) -> None:
    """Draws loss and mIoU of labels over images seen.

    Args:
        folder: The work folder.
        sizes: The batch.
        mious: (images seen, mIoU) where it was measured.
        path: The picture.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*((step * sizes.batch, loss) for step, loss in _losses(folder)), strict=True), color="tab:grey")
    axes.set(xlabel="images seen", ylabel="loss (grey)", ylim=(0, None))
    if mious:
        shares = axes.twinx()
        shares.plot(*zip(*mious, strict=True), "o-", color="tab:blue")
        shares.set(ylabel="mIoU of labels, seven classes (blue)", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _losses(folder: Path) -> list[tuple[int, float]]:
    return read_losses(folder / "training")


def _autoencoder(folder: Path, pairs: Path, sizes: Sizes) -> tuple[Path, dict[str, float]]:
    """The toybox's where it is good enough, or what fine-tuning makes of it; and the PSNR of both."""
    known = folder / "autoencoder.json"
    tuned = folder / "autoencoder" / "vae"
    if not known.exists():
        figures = {"autoencoder_psnr_toybox": _psnr(TOYBOX / "vae", pairs, sizes)}
        if figures["autoencoder_psnr_toybox"] < sizes.least_psnr:
            opened = open_pairs(str(pairs), pixels=sizes.pixels)
            train_autoencoder(
                opened,
                folder / "autoencoder",
                steps=sizes.autoencoder_steps,
                start=TOYBOX / "vae",
                decoder_only=sizes.decoder_only,
                save_every=_SAVE_EVERY,
            )
            figures["autoencoder_psnr_tuned"] = _psnr(tuned, pairs, sizes)
        known.write_text(json.dumps(figures), encoding="utf-8")
    return (tuned if tuned.is_dir() else TOYBOX / "vae"), json.loads(known.read_text(encoding="utf-8"))


def _psnr(autoencoder: Path, pairs: Path, sizes: Sizes) -> float:
    opened = open_pairs(str(pairs), pixels=sizes.pixels)
    images = images_of(opened, range(len(opened))[-_MEASURED:])
    return measure_psnr(load_autoencoder(autoencoder), images_to_tensor(images))


def _train(output: Path, pairs: Path, sizes: Sizes, *, autoencoder: Path, steps: int | None = None) -> None:
    if (output / "model").is_dir():
        return
    torch.manual_seed(0)
    vocabulary = pairs.with_name("streets.yaml")
    classes = [{"name": name, **fields} for name, fields in street_vocabulary(street_classes()).items()]
    vocabulary.write_text(yaml.safe_dump({"name": "streets", "classes": classes}), encoding="utf-8")
    train_model(
        [
            *("--data", str(pairs), "--kind", "unet", "--size", sizes.network, "--text", "new", "--resume"),
            *("--text-layers", "0", "--rate", str(sizes.rate)),
            *("--pixels", str(sizes.pixels), "--batch", str(sizes.batch), "--steps", str(steps or sizes.steps)),
            *("--save-every", str(_SAVE_EVERY), "--sample-every", str(sizes.kept_every)),
            *("--keep-every", str(sizes.kept_every), "--vae", str(autoencoder), "--output", str(output)),
            *("--classes", str(vocabulary), "--classes-from", str(sizes.taught_from)),
        ]
    )
