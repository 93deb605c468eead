"""The toybox's autoencoder: 128 × 128 images to 16 × 16 × 8 latents and back, trained on images alone."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from diffumask_datasets.models.weights import load_whole
from diffumask_datasets.toybox.pairs import image_and_captions
from diffumask_datasets.toybox.training import (
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
    set_learning_rate,
)

logger = logging.getLogger(__name__)

AUTOENCODER_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 96),
    "layers_per_block": 1,
    "latent_channels": 8,
    "norm_num_groups": 2,
    "sample_size": 128,
    "mid_block_add_attention": False,
    "scaling_factor": 1.0,
    "force_upcast": False,
}

PEAK_RATE = 4e-4
NOISE = 0.1
"""Deviation of the noise that latents must survive in training; a learned one starts so large that it drowns them."""

SIZE_WEIGHT = 1e-3
EDGE_WEIGHT = 0.5
_DECODER_SEED = 20_000_000
CROP = 64
CROP_SHARE = 0.6
"""Part of the budget spent on crops; then whole images, whose group-norm statistics are those of use."""


def build_autoencoder() -> AutoencoderKL:
    """A fresh autoencoder: float32 images (N, 3, H, W) in [-1, 1] ↔ latents (N, 8, H / 8, W / 8)."""
    model: AutoencoderKL = AutoencoderKL(**AUTOENCODER_CONFIG).to(memory_format=torch.channels_last)
    _open_stream(model)
    return model


def load_autoencoder(output: Path, weights: Path) -> AutoencoderKL:
    """The autoencoder trained in ``output``, else the one of the diffusers folder ``weights``; float32, frozen."""
    folder = output / "autoencoder"
    if not folder.is_dir():
        folder = weights / "vae"
    return _read(folder).requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _read(folder: Path) -> AutoencoderKL:
    model: AutoencoderKL = load_whole(
        AutoencoderKL, folder, what=f"the autoencoder {folder}", torch_dtype=torch.float32
    )
    return model


@torch.no_grad()
def _open_stream(model: AutoencoderKL) -> None:
    """Start as a plain chain of resamplings: stream convolutions near identity, residual branches silent.

    The usual start spends its first minutes on passing colour through; this one has it from the beginning.
    """
    stream = ("conv_in", "downsamplers.0.conv", "upsamplers.0.conv", "conv_shortcut")
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            if name.endswith(stream):
                own = module.weight.clone()
                torch.nn.init.dirac_(module.weight)
                module.weight += 0.3 * own
            elif name.endswith("conv2"):
                module.weight *= 0.1


def images_to_tensor(images: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return pixels.contiguous(memory_format=torch.channels_last)  # a fifth faster than the default on CPU


def _training_batch(start: int, team: Team, *, whole: bool) -> Tensor:
    if whole:
        seeds = range(start + team.rank, start + 4 * team.size, team.size)
        return images_to_tensor(np.stack([image_and_captions(seed, phrasings=1)[0] for seed in seeds]))
    crops = []
    for seed in range(start + team.rank, start + 3 * team.size, team.size):
        image = image_and_captions(seed, phrasings=1)[0]
        rng = np.random.default_rng(seed)
        for top, left in rng.integers(0, 128 - CROP + 1, (2, 2)):
            crops.append(image[top : top + CROP, left : left + CROP])
    return images_to_tensor(np.stack(crops))


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[..., 1:, :] - images[..., :-1, :], images[..., 1:] - images[..., :-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 of the pixels and of their differences (edges must stay where they are), squares of pixels and patch means.

    The squares bring the colours in early, which L1 alone is slow to learn.
    """
    edges = sum((a - b).abs().mean() for a, b in zip(_edges(output), _edges(target), strict=True))
    patches = (torch.nn.functional.avg_pool2d(output - target, 8)).square().mean()
    error = output - target
    return error.abs().mean() + EDGE_WEIGHT * edges + error.square().mean() + 2 * patches


def autoencoder_loss(model: AutoencoderKL, images: Tensor, *, shrink: bool, flip: bool) -> Tensor:
    """Reconstruction from noisy latents, plus a little of their square, so that they cannot outgrow the noise.

    Shrinking or flipping latents and target alike keeps the latent space smooth, which is easier to denoise
    (EQ-VAE, Kouzelis et al. 2025).
    """
    clean = model.encode(images).latent_dist.mean
    latents = clean + NOISE * torch.randn_like(clean)
    if shrink:
        latents, images = (torch.nn.functional.avg_pool2d(x, 2) for x in (latents, images))
    if flip:
        latents, images = latents.flip(-1), images.flip(-1)
    output = model.decode(latents).sample.float()
    loss: Tensor = reconstruction_loss(output, images) + SIZE_WEIGHT * clean.float().square().mean()
    return loss


@torch.no_grad()
def measure_psnr(model: AutoencoderKL, *, count: int = 16) -> float:
    """Mean PSNR in dB over ``count`` whole validation scenes."""
    images = images_to_tensor(np.stack([image_and_captions(s, split="validation")[0] for s in range(count)]))
    output = torch.cat([model.decode(model.encode(x).latent_dist.mean).sample for x in images.split(8)])
    mse = (((output.clamp(-1, 1) - images) / 2) ** 2).mean(dim=(1, 2, 3))
    return float((-10 * mse.log10()).mean())


@torch.no_grad()
def write_reconstructions(model: AutoencoderKL, path: Path) -> None:
    """Contact sheet: validation scenes above their reconstructions."""
    scenes = np.stack([image_and_captions(seed, split="validation")[0] for seed in range(8)])
    output = model.decode(model.encode(images_to_tensor(scenes)).latent_dist.mean).sample
    painted = ((output.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in (scenes, painted)])).save(path)


@torch.no_grad()
def normalise_latents(model: AutoencoderKL, *, count: int = 256) -> None:
    """Fold shift and scale into the 1 × 1 convolutions, so that every latent channel has mean 0 and deviation 1.

    The posterior's deviation becomes the training noise in the new units.
    Stable Diffusion pipelines know one scaling factor and no shift; afterwards neither is needed.
    """
    images = images_to_tensor(np.stack([image_and_captions(seed)[0] for seed in range(count)]))
    latents = torch.cat([model.encode(x).latent_dist.mean for x in images.split(8)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    before, after = model.quant_conv, model.post_quant_conv
    before.weight[:channels] /= deviation[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / deviation
    before.weight[channels:] = 0.0
    before.bias[channels:] = 2 * (NOISE / deviation).log()
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(dim=1)
    after.weight *= deviation[None, :, None, None]


def train_autoencoder(team: Team, minutes: float, output: Path, resume: bool, from_weights: Path | None) -> None:
    """Train for ``minutes``; leaves a diffusers folder in ``output/autoencoder`` (latents normalised).

    From a fresh start, from ``output``'s checkpoint, or from the diffusers folder ``from_weights``. Latents move: a
    denoiser trained on the old ones has to be trained on.
    """
    torch.manual_seed(1)
    model = build_autoencoder()
    if from_weights:
        model.load_state_dict(_read(from_weights / "vae").state_dict())
    gradients = PooledGradients(model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    average = Averaged(model, 0.998)
    checkpoint = output / "autoencoder.pt"
    budget, step = Budget(minutes), 0
    if resume and checkpoint.exists():
        saved = load_checkpoint(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.values, step, budget.spent_s = saved["average"], saved["step"], saved["elapsed_s"]
    torch.manual_seed(1000 + team.rank + 17 * step)
    chance = np.random.default_rng([7, step])
    saved_at = budget.elapsed_s
    while (share := team.agree(budget.share)) < 1.0:
        images = _training_batch(step * 8, team, whole=bool(from_weights) or share > CROP_SHARE)
        set_learning_rate(optimizer, learning_rate(PEAK_RATE, step=step, share=share, warm_up=50))
        shrink, flip = chance.random() < 0.25, chance.random() < 0.5
        with mixed_precision(team.device):
            loss = autoencoder_loss(model, images, shrink=shrink, flip=flip)
        descend(loss, team, gradients, optimizer)
        average.update(model, step)
        step += 1
        if team.leads and step % 50 == 0:
            append_log(output / "autoencoder.jsonl", step=step, loss=loss.item(), share=share)
        if team.leads and budget.elapsed_s - saved_at > 150:
            saved_at = budget.elapsed_s
            save_checkpoint(
                checkpoint,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average.values,
                    "step": step,
                    "elapsed_s": saved_at,
                },
            )
            _report(average, output, step)
    if team.leads:
        _finish(average, output, step)


def _averaged_model(average: Averaged) -> AutoencoderKL:
    model = build_autoencoder()
    model.load_state_dict(average.state())
    return model.eval()


def _report(average: Averaged, output: Path, step: int) -> None:
    model = _averaged_model(average)
    write_reconstructions(model, output / "autoencoder.png")
    append_log(output / "autoencoder.jsonl", step=step, psnr=measure_psnr(model))


def _finish(average: Averaged, output: Path, step: int) -> None:
    model = _averaged_model(average)
    normalise_latents(model)
    _save_autoencoder(model, output, step)


def _save_autoencoder(model: AutoencoderKL, output: Path, step: int) -> None:
    figures = {"psnr": measure_psnr(model, count=64), "steps": step}
    folder, partial = output / "autoencoder", output / "autoencoder.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    (partial / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    write_reconstructions(model, output / "autoencoder.png")
    append_log(output / "autoencoder.jsonl", step=step, psnr=figures["psnr"])


def train_decoder(team: Team, minutes: float, output: Path, weights: Path) -> None:
    """Sharpen the decoder alone for ``minutes``; the encoder and so the latents stay, and the denoiser with them."""
    torch.manual_seed(3000 + team.rank)
    model = load_autoencoder(output, weights).to(team.device)
    trained = [
        *model.decoder.requires_grad_(True).parameters(),
        *model.post_quant_conv.requires_grad_(True).parameters(),
    ]
    gradients = PooledGradients(trained)
    optimizer = torch.optim.AdamW(trained, lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    average, budget, step = Averaged(model, 0.995), Budget(minutes), 0
    while (share := team.agree(budget.share)) < 1.0:
        images = _training_batch(_DECODER_SEED + step * 8, team, whole=True).to(team.device)
        set_learning_rate(optimizer, learning_rate(PEAK_RATE, step=step, share=share, warm_up=50))
        with torch.no_grad():
            latents = model.encode(images).latent_dist.sample()
        loss = reconstruction_loss(model.decode(latents).sample, images)
        descend(loss, team, gradients, optimizer)
        average.update(model, step)
        step += 1
        if team.leads and step % 50 == 0:
            append_log(output / "decoder.jsonl", step=step, loss=loss.item(), share=share)
    if team.leads:
        _save_autoencoder(_averaged_model(average), output, step)
