"""Writing the newest checkpoint as an ordinary float16 diffusers folder with a model card."""

from __future__ import annotations

import json
import logging
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from diffumask_datasets.errors import DataError, ModelError
from diffumask_datasets.recipes.json_reader import read_json, read_json_lines
from diffumask_datasets.toybox.autoencoder import build_autoencoder, load_autoencoder
from diffumask_datasets.toybox.model import ImageGenerator, assemble
from diffumask_datasets.toybox.tokenizer import build_tokenizer
from diffumask_datasets.toybox.training import load_checkpoint

logger = logging.getLogger(__name__)

MAX_BYTES = 24_500_000
"""Most that the folder may weigh; the package promises 25 MB."""


def export_weights(output: Path, weights: Path, *, card: str | None = None, **unet_overrides: Any) -> None:
    """Write ``output``'s averaged weights to the folder ``weights`` (replaced as a whole) in float16.

    Raises ``FileNotFoundError`` without a checkpoint and ``ValueError`` if the folder would be too heavy.
    """
    checkpoint = output / "denoiser.pt"
    if not checkpoint.exists():
        raise FileNotFoundError(f"no {checkpoint}: run the 'denoiser' command first")
    saved = load_checkpoint(checkpoint)
    tokenizer = build_tokenizer()
    painter = ImageGenerator(tokenizer, **unet_overrides)
    painter.load_state_dict(saved["average"])
    partial = weights.with_name(weights.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline = assemble(painter.eval(), _portable_autoencoder(output, weights), tokenizer)
    pipeline.to(dtype=torch.float16).save_pretrained(partial, safe_serialization=True)
    _load_text_as_float32(partial / "text_encoder" / "config.json")
    history = _history(output)
    facts = {
        "images_seen": saved["images_seen"],
        "steps": saved["step"],
        "parameters": sum(p.numel() for p in painter.parameters()),
    } | history
    (partial / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (partial / "README.md").write_text(card or model_card(facts), encoding="utf-8")
    size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise ValueError(f"{partial} weighs {size} bytes, more than {MAX_BYTES}")
    _swap_in(partial, weights)
    logger.info("%s: %.1f MB after %d images", weights, size / 1e6, saved["images_seen"])


def _load_text_as_float32(config: Path) -> None:
    """Have transformers 5 load the float16 text encoder in float32, as diffusers does with the other parts."""
    content = read_json(config, what="the config", error=ModelError)
    config.write_text(json.dumps(content | {"dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def _swap_in(new: Path, place: Path) -> None:
    """Put folder ``new`` at ``place``; between two renames nobody finds half a folder."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _portable_autoencoder(output: Path, weights: Path) -> AutoencoderKL:
    """The trained autoencoder in a fresh shell, whose config names no folder of this machine."""
    model = build_autoencoder()
    model.load_state_dict(load_autoencoder(output, weights).state_dict())
    return model.eval()


def _history(output: Path) -> dict[str, Any]:
    """Figures for the model card: the last loss, the minutes of all schedules, and the autoencoder's PSNR in dB."""
    history: dict[str, Any] = {}
    log = output / "denoiser.jsonl"
    if log.exists():
        entries = [entry for _, entry in read_json_lines(log, what="the log", error=DataError)]
        if entries:
            clock = [entry["minutes"] for entry in entries]
            spent = sum(now for now, then in pairwise([*clock, 0.0]) if then < now)
            history = {"loss": round(entries[-1]["loss"], 4), "minutes": round(spent)}
    figures = output / "autoencoder" / "figures.json"
    if figures.exists():
        history["autoencoder_psnr_db"] = round(read_json(figures, what="the figures", error=DataError)["psnr"], 2)
    return history


def model_card(facts: dict[str, Any]) -> str:
    """The weights' README.md, from the figures in ``training.json``."""
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    template = (Path(__file__).parent / "model_card.md").read_text(encoding="utf-8")
    return template.replace("{facts}", lines)
