"""A pool of encoded scenes, so that a denoising step need not render and encode its whole batch."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from diffumask_datasets.toybox.autoencoder import images_to_tensor, load_autoencoder
from diffumask_datasets.toybox.captions import NUMBERS, PLURALS
from diffumask_datasets.toybox.pairs import image_and_captions
from diffumask_datasets.toybox.tokenizer import MAX_LENGTH, build_tokenizer
from diffumask_datasets.toybox.training import WEIGHTS, Team
from diffumask_datasets.toybox.world import CLASS_NAMES

logger = logging.getLogger(__name__)

PHRASINGS = 6
_BATCH = 8


def caption_tokens(captions: list[str], tokenizer: CLIPTokenizer) -> Tensor:
    """Token ids int64 (len(captions), 32), padded with the end token."""
    ids: Tensor = tokenizer(
        captions, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


@torch.no_grad()
def encode_scenes(
    seeds: list[int], model: AutoencoderKL, tokenizer: CLIPTokenizer, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Scenes as (latents float16 (N, 8, 16, 16), token ids int16 (N, PHRASINGS, 32)), on the CPU."""
    pairs = [image_and_captions(seed, phrasings=PHRASINGS) for seed in seeds]
    images = images_to_tensor(np.stack([image for image, _ in pairs])).to(device)
    latents = model.encode(images).latent_dist.mean.to("cpu", torch.float16)
    ids = caption_tokens([caption for _, captions in pairs for caption in captions], tokenizer)
    return latents.contiguous(), ids.view(len(seeds), PHRASINGS, MAX_LENGTH).to(torch.int16)


class LatentPool:
    """Encoded scenes to draw batches from: ``latents`` float16 (N, 8, 16, 16), ``tokens`` int16 (N, PHRASINGS, 32)."""

    def __init__(self, latents: Tensor, tokens: Tensor) -> None:
        self.latents, self.tokens = latents, tokens
        self._one = _ids(CLASS_NAMES)
        self._many = _ids([*(set(PLURALS.values()) - set(CLASS_NAMES)), *NUMBERS.values()])
        self.singles, self.others = self._sorted(tokens, first_row=0)

    def draw(
        self, count: int, generator: torch.Generator, *, single_share: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Random (latents float32 (count, 8, 16, 16), token ids int64 (count, 32)), one phrasing each.

        ``single_share`` of the rows come from scenes with one object, the others from scenes with several; None draws from
        all alike.
        """
        rows = torch.randint(len(self.latents), (count,), generator=generator)
        if single_share is not None:
            single, several = (self._drawn_from(rows, count, generator) for rows in (self.singles, self.others))
            rows = torch.where(torch.rand(count, generator=generator) < single_share, single, several)
        phrasing = torch.randint(self.tokens.shape[1], (count,), generator=generator)
        return self.latents[rows].float(), self.tokens[rows, phrasing].long()

    def add(self, latents: Tensor, tokens: Tensor) -> None:
        """Append fresh scenes (grows in blocks of the caller's choice: each call copies the pool)."""
        singles, others = self._sorted(tokens, first_row=len(self.latents))
        self.singles, self.others = torch.cat([self.singles, singles]), torch.cat([self.others, others])
        self.latents = torch.cat([self.latents, latents])
        self.tokens = torch.cat([self.tokens, tokens])

    def _drawn_from(self, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return rows[torch.randint(len(rows), (count,), generator=generator)]

    def _sorted(self, tokens: Tensor, *, first_row: int) -> tuple[Tensor, Tensor]:
        """Rows whose captions name one class once, in the singular, and the others: what a reader of captions can know."""
        one = torch.isin(tokens, self._one).sum(dim=-1)  # (N, PHRASINGS)
        many = torch.isin(tokens, self._many).sum(dim=-1)
        single = ((one == 1) & (many == 0)).all(dim=1)
        return single.nonzero()[:, 0] + first_row, (~single).nonzero()[:, 0] + first_row


def encode_pool(team: Team, output: Path, first_seed: int, scenes: int) -> None:
    """Encode ``scenes`` scenes from ``first_seed`` on into ``output/pool-<first seed>-<rank>.npz``, one per process."""
    model, tokenizer = load_autoencoder(output, WEIGHTS).to(team.device), build_tokenizer()
    seeds = list(range(first_seed + team.rank, first_seed + scenes, team.size))
    parts = [encode_scenes(seeds[i : i + _BATCH], model, tokenizer, team.device) for i in range(0, len(seeds), _BATCH)]
    path = output / f"pool-{first_seed:08d}-{team.rank}.npz"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez(
            stream, latents=torch.cat([p[0] for p in parts]).numpy(), tokens=torch.cat([p[1] for p in parts]).numpy()
        )
    os.replace(partial, path)
    logger.info("%s: %d scenes", path.name, len(seeds))


def load_pool(output: Path, team: Team) -> LatentPool:
    """This process's share of all pool files in ``output``."""
    files = sorted(output.glob("pool-*.npz"))
    if not files:
        raise FileNotFoundError(f"no pool-*.npz in {output}: run the 'latents' command first")
    content = [np.load(file) for file in files]
    latents = torch.from_numpy(np.concatenate([part["latents"] for part in content]))
    tokens = torch.from_numpy(np.concatenate([part["tokens"] for part in content]))
    share = slice(team.rank, None, team.size)
    return LatentPool(latents[share].clone(), tokens[share].clone())


def _ids(words: Sequence[str]) -> Tensor:
    tokenizer = build_tokenizer()
    found = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
    return torch.tensor([ids[0] for ids in found], dtype=torch.int16)
