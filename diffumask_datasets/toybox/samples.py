"""Sample sheets: what the model paints at a given moment of its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTokenizer

from diffumask_datasets.toybox.captions import with_article
from diffumask_datasets.toybox.model import ImageGenerator, assemble
from diffumask_datasets.toybox.world import CLASS_NAMES, COLOURS

GUIDANCE = 3.5


def sheet_prompts() -> list[str]:
    """Four prompts for each class: two plain, two with a colour."""
    colours = list(COLOURS)
    prompts = []
    for index, name in enumerate(CLASS_NAMES):
        prompts += [f"a photo of {with_article(name)}"] * 2
        prompts += [f"a photo of {with_article(f'{colours[(index + shift) % 8]} {name}')}" for shift in (0, 3)]
    return prompts


@torch.no_grad()
def write_sample_sheet(
    painter: ImageGenerator, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, path: Path, *, steps: int = 10
) -> None:
    """Paint ``sheet_prompts`` (fixed seeds) and save them at ``path``, row by row, ten a row."""
    pipeline = assemble(painter, autoencoder, tokenizer)
    prompts, images = sheet_prompts(), []
    for start in range(0, len(prompts), 4):
        generators = [torch.Generator().manual_seed(start + offset) for offset in range(4)]
        images += pipeline(
            prompts[start : start + 4],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=generators,
            output_type="np",
        ).images.tolist()
    grid = (np.asarray(images, dtype=np.float32) * 255).round().astype(np.uint8)
    count, height, width, channels = grid.shape
    sheet = grid.reshape(4, count // 4, height, width, channels).transpose(0, 2, 1, 3, 4)
    Image.fromarray(sheet.reshape(4 * height, count // 4 * width, channels)).save(path)


def read_sample_sheet(path: Path, *, side: int = 128) -> list[NDArray[np.uint8]]:
    """The images of a sheet, uint8 (side, side, 3), in the order of ``sheet_prompts``."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    tiles = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    return list(tiles.reshape(rows * columns, side, side, 3))
