"""Training of text encoder and UNet on encoded scenes and their captions: v-prediction, nothing else."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTokenizer

from diffumask_datasets.toybox.autoencoder import load_autoencoder
from diffumask_datasets.toybox.latents import LatentPool, caption_tokens, encode_scenes, load_pool
from diffumask_datasets.toybox.model import ImageGenerator, build_scheduler
from diffumask_datasets.toybox.optimizers import MatrixDescent
from diffumask_datasets.toybox.samples import write_sample_sheet
from diffumask_datasets.toybox.tokenizer import build_tokenizer
from diffumask_datasets.toybox.training import (
    WEIGHTS,
    Averaged,
    Budget,
    PooledGradients,
    Team,
    append_log,
    descend,
    learning_rate,
    load_checkpoint,
    mixed_precision,
    save_checkpoint,
)

logger = logging.getLogger(__name__)

FRESH_SEED = 10_000_000
"""Seeds of scenes added during training start here, clear of the pool's."""


@dataclass(frozen=True)
class Settings:
    """What decides a denoiser step; ``batch`` and ``fresh`` (new scenes a step) count per process.

    ``single_share`` of a batch are scenes with one object, whose shapes are large and so learned first (None: as they come).
    ``words_only`` of it hides the end tokens; ``matrix_share`` is the rate of matrices as a multiple of ``peak_rate``.
    """

    peak_rate: float = 1e-3
    batch: int = 16
    fresh: int = 2
    single_share: float | None = None
    words_only: float = 0.5
    matrix_share: float = 2.0
    fresh_block: int = 48
    caption_dropout: float = 0.1
    average_decay: float = 0.999
    report_s: float = 720.0
    save_s: float = 240.0
    unet: dict[str, Any] = field(default_factory=dict)


def draw_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Timesteps int64 (count,) in [0, 1000): a quarter uniform, the others logit-normal around 575.

    From 400 to 800 it is decided which of two objects is which: shown a drawn scene at 250 the model finishes it as two
    objects, from 550 on it often paints both with parts of each other.
    """
    middle = torch.sigmoid(0.3 + 0.8 * torch.randn(count, generator=generator))
    even = torch.rand(count, generator=generator)
    pick = torch.rand(count, generator=generator) < 0.25
    return (torch.where(pick, even, middle) * 1000).long().clamp(0, 999)


def denoising_loss(
    painter: ImageGenerator,
    scheduler: DDIMScheduler,
    latents: Tensor,
    tokens: Tensor,
    generator: torch.Generator,
    *,
    words_only: float = 0.0,
) -> Tensor:
    """Mean squared error of the predicted v (Salimans & Ho 2022), latents (N, 8, 16, 16), token ids (N, 32).

    ``words_only`` of the rows are painted without the end tokens, which sum the caption up: the words themselves then
    have to be read where they matter.
    """
    timesteps = draw_timesteps(len(latents), generator).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    target = scheduler.get_velocity(latents, noise, timesteps)
    visible = painter.is_word(tokens) | (torch.rand(len(tokens), 1, generator=generator) >= words_only).to(
        tokens.device
    )
    with mixed_precision(latents.device):
        predicted = painter(noisy, timesteps, tokens, visible.to(latents.device))
    return torch.nn.functional.mse_loss(predicted.float(), target)


class DenoiserRun:
    """State of one process of the run: weights, optimizer, average, pool; steps it, saves it, takes it up again."""

    def __init__(self, team: Team, pool: LatentPool, tokenizer: CLIPTokenizer, settings: Settings) -> None:
        torch.manual_seed(2)
        self.team, self.pool, self.tokenizer, self.settings = team, pool, tokenizer, settings
        self.painter = ImageGenerator(tokenizer, **settings.unet).to(team.device)
        if team.device.type == "cpu":
            # Torch's fused attention takes a third of a step on the way back; this takes half as long in all.
            self.painter.unet.set_attn_processor(AttnProcessor())
        self.scheduler = build_scheduler()
        self.gradients = PooledGradients(self.painter.parameters())
        self.optimizer = MatrixDescent(self.painter, self.gradients, matrix_share=settings.matrix_share)
        self.average = Averaged(self.painter, settings.average_decay)
        self.step = 0
        self.images_seen = 0
        self.no_caption = caption_tokens([""], tokenizer)

    def train_step(self, share: float) -> Tensor:
        """One optimizer step at schedule position ``share``; gives the loss. Random numbers follow from the step."""
        settings, team = self.settings, self.team
        generator = torch.Generator().manual_seed(self.step * 1009 + team.rank)
        latents, tokens = self.pool.draw(settings.batch, generator, single_share=settings.single_share)
        dropped = torch.rand(settings.batch, generator=generator) < settings.caption_dropout
        tokens = torch.where(dropped[:, None], self.no_caption, tokens)
        self.optimizer.set_rate(learning_rate(settings.peak_rate, step=self.step, share=share))
        loss = denoising_loss(
            self.painter,
            self.scheduler,
            latents.to(team.device),
            tokens.to(team.device),
            generator,
            words_only=settings.words_only,
        )
        descend(loss, team, self.gradients, self.optimizer)
        self.average.update(self.painter, self.step)
        self.step += 1
        self.images_seen += settings.batch * team.size
        return loss.detach()

    def grow_pool(self, autoencoder: AutoencoderKL) -> None:
        """Add one block of scenes never seen before, as often as ``fresh`` scenes a step ask for."""
        block, fresh = self.settings.fresh_block, self.settings.fresh
        if not fresh or self.step % (block // fresh):
            return
        first = FRESH_SEED + (self.step * fresh * self.team.size) + self.team.rank
        seeds = list(range(first, first + block * self.team.size, self.team.size))
        for start in range(0, block, 8):
            self.pool.add(*encode_scenes(seeds[start : start + 8], autoencoder, self.tokenizer, self.team.device))

    def state(self, elapsed_s: float) -> dict[str, Any]:
        """Everything that a later run needs to go on from here."""
        return {
            "model": self.painter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "images_seen": self.images_seen,
            "elapsed_s": elapsed_s,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        self.painter.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average.values = {name: value.to(self.team.device) for name, value in saved["average"].items()}
        self.step, self.images_seen = saved["step"], saved["images_seen"]

    def averaged_painter(self) -> ImageGenerator:
        """A copy with the averaged weights, for looking at and for shipping."""
        painter = ImageGenerator(self.tokenizer, **self.settings.unet)
        painter.load_state_dict(self.average.state())
        return painter.eval().to(self.team.device)


def train_denoiser(
    team: Team, minutes: float, output: Path, resume: bool, from_weights: Path | None, settings: Settings | None = None
) -> None:
    """Train for ``minutes`` from scratch, from ``output``'s checkpoint, or from a diffusers folder.

    A checkpoint whose own budget is not used up goes on with its schedule; otherwise a new schedule starts.
    """
    autoencoder = load_autoencoder(output, WEIGHTS).to(team.device)
    run = DenoiserRun(team, load_pool(output, team), build_tokenizer(), settings or Settings())
    checkpoint, budget = output / "denoiser.pt", Budget(minutes)
    if resume and checkpoint.exists():
        saved = load_checkpoint(checkpoint)
        run.restore(saved)
        budget.spent_s = saved["elapsed_s"] if saved["elapsed_s"] < minutes * 60 - 1 else 0.0
    elif from_weights:
        run.painter.load_weights(from_weights)
        run.average = Averaged(run.painter, run.settings.average_decay)
    _train_until_spent(run, budget, autoencoder, output)


def _train_until_spent(run: DenoiserRun, budget: Budget, autoencoder: AutoencoderKL, output: Path) -> None:
    losses: list[Tensor] = []
    saved_at = reported_at = began = budget.elapsed_s
    seen_at_start = run.images_seen
    while (share := run.team.agree(budget.share)) < 1.0:
        losses.append(run.train_step(share))
        run.grow_pool(autoencoder)
        if not run.team.leads:
            continue
        if run.step % 50 == 0:
            rate = (run.images_seen - seen_at_start) / (budget.elapsed_s - began)
            append_log(
                output / "denoiser.jsonl",
                step=run.step,
                images=run.images_seen,
                share=share,
                loss=torch.stack(losses[-50:]).mean().item(),
                images_per_s=rate,
                minutes=budget.elapsed_s / 60,
            )
        if budget.elapsed_s - saved_at > run.settings.save_s:
            saved_at = budget.elapsed_s
            save_checkpoint(output / "denoiser.pt", run.state(saved_at))
        if budget.elapsed_s - reported_at > run.settings.report_s:
            reported_at = budget.elapsed_s
            write_sample_sheet(
                run.averaged_painter(), autoencoder, run.tokenizer, output / f"samples-{run.images_seen:07d}.png"
            )
    if run.team.leads:
        save_checkpoint(output / "denoiser.pt", run.state(budget.elapsed_s))
        write_sample_sheet(
            run.averaged_painter(), autoencoder, run.tokenizer, output / f"samples-{run.images_seen:07d}.png", steps=20
        )
