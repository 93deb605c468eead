"""The training set as a denoiser sees it: encoded once, kept in a file, drawn from in batches."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTokenizer

from diffumask_datasets.errors import DataError
from examples.small_model.autoencoder import images_to_tensor
from examples.small_model.pairs import Pairs
from examples.small_model.text import caption_tokens

__all__ = ["Encoded", "LatentPool", "encode_pairs"]

logger = logging.getLogger(__name__)

PHRASINGS = 6
"""Most captions of an image that are used."""

_BATCH = 8


class Encoded:
    """Latents float16 (N, channels, height, width) as the denoiser sees them, and the captions of each."""

    def __init__(self, latents: Tensor, captions: list[list[str]]) -> None:
        self.latents, self.captions = latents, captions


@torch.no_grad()
def encode_pairs(pairs: Pairs, vae: AutoencoderKL, path: Path, *, identity: dict[str, Any]) -> Encoded:
    """The pairs through the autoencoder, from the file ``path`` where an earlier run has left it.

    Raises:
        DataError: the file holds other data than ``identity`` names.
    """
    if path.exists():
        return _read(path, identity)
    latents, captions = [], []
    for start in range(0, len(pairs), _BATCH):
        batch = [pairs.pair(index) for index in range(start, min(start + _BATCH, len(pairs)))]
        images = images_to_tensor(np.stack([image for image, _ in batch])).to(vae.device)
        latents.append(_scaled(vae, vae.encode(images).latent_dist.mean).to("cpu", torch.float16))
        captions += [list(found)[:PHRASINGS] for _, found in batch]
        if start % 2048 == 0:
            logger.info("encoded %d of %d images", start, len(pairs))
    partial = path.with_suffix(".partial")
    metadata = {"captions": json.dumps(captions), "identity": json.dumps(identity, sort_keys=True)}
    save_file({"latents": torch.cat(latents).contiguous()}, partial, metadata=metadata)
    os.replace(partial, path)
    return Encoded(torch.cat(latents), captions)


def _read(path: Path, identity: dict[str, Any]) -> Encoded:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        if metadata["identity"] != json.dumps(identity, sort_keys=True):
            raise DataError(
                f"{path} holds {metadata['identity']}, not {json.dumps(identity, sort_keys=True)}: remove it"
            )
        return Encoded(file.get_tensor("latents"), json.loads(metadata["captions"]))


def _scaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


class LatentPool:
    """Latents and token ids (N, captions, length) to draw batches from."""

    def __init__(self, encoded: Encoded, tokenizer: CLIPTokenizer) -> None:
        most = max(len(captions) for captions in encoded.captions)
        rows = [captions[k % len(captions)] for captions in encoded.captions for k in range(most)]
        self.latents = encoded.latents
        self.tokens = caption_tokens(rows, tokenizer).view(len(encoded.captions), most, -1).to(torch.int32)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random latents float32 (count, …) and token ids int64 (count, length), one caption each."""
        rows = torch.randint(len(self.latents), (count,), generator=generator)
        captions = torch.randint(self.tokens.shape[1], (count,), generator=generator)
        return self.latents[rows].float(), self.tokens[rows, captions].long()
