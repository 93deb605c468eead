"""Models of published sizes with random weights, saved where the product loads them from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.benchmarks.full_size_models import Place, flux_like, stable_diffusion_15, stable_diffusion_xl

__all__ = ["ARCHITECTURES", "DTYPE", "Architecture", "save_random", "save_segmenter"]

DTYPE = "bfloat16"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A pipeline, the side of its images in pixels, their steps, and how many of them the cost of masks is measured on."""

    name: str
    build: Callable[[Place], Any]
    side: int
    steps: int
    images: int


ARCHITECTURES = (
    Architecture("sd15", lambda place: stable_diffusion_15(whole=True, place=place).pipeline, 512, 25, 4),
    Architecture("sdxl", stable_diffusion_xl, 1024, 25, 2),
    Architecture("flux", lambda place: flux_like(whole=True, place=place).pipeline, 1024, 20, 1),
)


def save_random(architecture: Architecture, folder: Path, device: str) -> Path:
    """Writes the pipeline with random weights, made on the device, in half the bytes on a GPU."""
    place = Place(device, torch.float32 if device == "cpu" else torch.bfloat16)
    architecture.build(place).save_pretrained(folder)
    return folder


def save_segmenter(folder: Path) -> Path:
    """Writes a SAM 2 of the size of the one that masks are refined by where a recipe names none."""
    transformers.Sam2Model(transformers.Sam2Config()).save_pretrained(folder)
    normalization = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalization), encoding="utf-8")
    return folder
