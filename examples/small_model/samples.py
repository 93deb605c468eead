"""Sample sheets: what a model generates at a given moment of its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from diffumask_datasets.toybox.captions import with_article
from diffumask_datasets.toybox.world import CLASS_NAMES, COLOURS

__all__ = ["drawn_prompts", "read_sample_sheet", "write_sample_sheet"]

GUIDANCE = 3.5
COLUMNS = 10
_BATCH = 4


def drawn_prompts() -> list[str]:
    """Four prompts for each class of the drawn world: two plain, two with a colour."""
    colours = list(COLOURS)
    prompts = []
    for index, name in enumerate(CLASS_NAMES):
        prompts += [f"a photo of {with_article(name)}"] * 2
        prompts += [f"a photo of {with_article(f'{colours[(index + shift) % 8]} {name}')}" for shift in (0, 3)]
    return prompts


def write_sample_sheet(pipeline: DiffusionPipeline, prompts: Sequence[str], path: Path, *, steps: int = 10) -> None:
    """Generates ``prompts`` with fixed seeds and saves them at ``path``, row by row, ten a row."""
    pipeline.set_progress_bar_config(disable=True)
    images: list[NDArray[np.float32]] = []
    for start in range(0, len(prompts), _BATCH):
        batch = list(prompts[start : start + _BATCH])
        generators = [torch.Generator().manual_seed(start + offset) for offset in range(len(batch))]
        images += list(
            pipeline(
                batch, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators, output_type="np"
            ).images
        )
    tiles = (np.stack(images) * 255).round().astype(np.uint8)
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    rows[-1] = np.concatenate([rows[-1], np.zeros((len(rows[0]) - len(rows[-1]), *tiles.shape[1:]), np.uint8)])
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)


def read_sample_sheet(path: Path, *, side: int = 128) -> list[NDArray[np.uint8]]:
    """The images of a sheet, uint8 (side, side, 3), in the order of its prompts."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    tiles = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    return list(tiles.reshape(rows * columns, side, side, 3))
