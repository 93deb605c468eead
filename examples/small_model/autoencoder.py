"""Trains an autoencoder on images alone, for latents of 8 channels at an eighth of the size: see ``--help``."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.weights import load_whole
from examples.small_model.pairs import Pairs, add_data_options, images_of, pairs_of
from examples.small_model.training import (
    Averaged,
    append_log,
    learning_rate,
    load_checkpoint,
    mixed_precision,
    save_checkpoint,
)

__all__ = ["autoencoder_loss", "build_autoencoder", "images_to_tensor", "load_autoencoder", "train_autoencoder"]

PEAK_RATE = 4e-4
NOISE = 0.1
"""Deviation of the noise that latents must survive in training; a learned one starts so large that it drowns them."""

SIZE_WEIGHT = 1e-3
EDGE_WEIGHT = 0.5
CROP = 64
CROP_SHARE = 0.6
"""Part of a training spent on crops; then whole images, whose group-norm statistics are those of use."""

BATCH = 8


def build_autoencoder(pixels: int = 128) -> AutoencoderKL:
    """An untrained autoencoder: float32 images (N, 3, H, W) in [-1, 1] ↔ latents (N, 8, H / 8, W / 8)."""
    model: AutoencoderKL = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=2,
        sample_size=pixels,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        force_upcast=False,
    )
    _open_stream(model)
    return model.to(memory_format=torch.channels_last)


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The autoencoder of a diffusers ``folder``, float32, frozen.

    Raises:
        ModelError: there is none, or its weights are not whole.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"no autoencoder in {folder}: give the folder that holds its config.json")
    model = load_whole(AutoencoderKL, folder, what=f"the autoencoder {folder}", torch_dtype=torch.float32)
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)


@torch.no_grad()
def _open_stream(model: AutoencoderKL) -> None:
    """Starts as a plain chain of resamplings: stream convolutions near identity, residual branches silent.

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


def images_to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return pixels.contiguous(memory_format=torch.channels_last)  # a fifth faster than the default on CPU


def _batch(pairs: Pairs, step: int, *, whole: bool) -> Tensor:
    """Four whole images, or eight crops of four."""
    images = images_of(pairs, [(step * 4 + k) % len(pairs) for k in range(4)])
    if whole or pairs.pixels <= CROP:
        return images_to_tensor(images)
    corners = np.random.default_rng(step).integers(0, pairs.pixels - CROP + 1, (BATCH, 2))
    crops = [images[k // 2, top : top + CROP, left : left + CROP] for k, (top, left) in enumerate(corners)]
    return images_to_tensor(np.stack(crops))


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[..., 1:, :] - images[..., :-1, :], images[..., 1:] - images[..., :-1]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 of the pixels and of their differences (edges must stay where they are), squares of pixels and patch means.

    The squares bring the colours in early, which L1 alone is slow to learn.
    """
    edges = sum((a - b).abs().mean() for a, b in zip(_edges(output), _edges(target), strict=True))
    error = output - target
    patches = functional.avg_pool2d(error, 8).square().mean()
    return error.abs().mean() + EDGE_WEIGHT * edges + error.square().mean() + 2 * patches


def autoencoder_loss(model: AutoencoderKL, images: Tensor, *, shrink: bool, flip: bool) -> Tensor:
    """Reconstruction from noisy latents, plus a little of their square, so that they cannot outgrow the noise.

    Shrinking or flipping latents and target alike keeps the latent space smooth, which is easier to denoise
    (EQ-VAE, Kouzelis et al. 2025).
    """
    clean = model.encode(images).latent_dist.mean
    latents = clean + NOISE * torch.randn_like(clean)
    if shrink:
        latents, images = (functional.avg_pool2d(x, 2) for x in (latents, images))
    if flip:
        latents, images = latents.flip(-1), images.flip(-1)
    output = model.decode(latents).sample.float()
    loss: Tensor = reconstruction_loss(output, images) + SIZE_WEIGHT * clean.float().square().mean()
    return loss


def decoder_loss(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Reconstruction from the latents as they are."""
    with torch.no_grad():
        latents = model.encode(images).latent_dist.sample()
    return reconstruction_loss(model.decode(latents).sample.float(), images)


@torch.no_grad()
def measure_psnr(model: AutoencoderKL, images: Tensor) -> float:
    """Mean PSNR in dB over whole images."""
    output = torch.cat([model.decode(model.encode(x).latent_dist.mean).sample for x in images.split(BATCH)])
    mse = (((output.clamp(-1, 1) - images) / 2) ** 2).mean(dim=(1, 2, 3))
    return float((-10 * mse.log10()).mean())


@torch.no_grad()
def normalise_latents(model: AutoencoderKL, images: Tensor) -> None:
    """Folds shift and scale into the 1 × 1 convolutions, so that every latent channel has mean 0 and deviation 1.

    The posterior's deviation becomes the training noise in the new units.
    Stable Diffusion pipelines know one scaling factor and no shift; afterwards neither is needed.
    """
    latents = torch.cat([model.encode(x).latent_dist.mean for x in images.split(BATCH)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    before, after = model.quant_conv, model.post_quant_conv
    before.weight[:channels] /= deviation[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / deviation
    before.weight[channels:] = 0.0
    before.bias[channels:] = 2 * (NOISE / deviation).log()
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(dim=1)
    after.weight *= deviation[None, :, None, None]


def train_autoencoder(
    pairs: Pairs,
    output: Path,
    *,
    steps: int,
    start: Path | None = None,
    decoder_only: bool = False,
    save_every: int = 500,
) -> None:
    """Trains an autoencoder, and writes the averaged one to ``output/vae``; continues from a checkpoint in ``output``.

    Args:
        pairs: the images; the last 64 of them, a tenth at most, measure the PSNR instead.
        output: folder of checkpoint, log, reconstructions and result.
        steps: optimizer steps, over which the learning rate decays.
        start: folder of an autoencoder to start from; None starts anew.
        decoder_only: sharpen the decoder of ``start``. Latents stay as they are, and so does every denoiser of them;
            otherwise they move, and have mean 0 and deviation 1 afterwards.
        save_every: steps between checkpoints.
    """
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = (load_autoencoder(start) if start else build_autoencoder(pairs.pixels)).requires_grad_(True).to(device)
    trained = [*model.decoder.parameters(), *model.post_quant_conv.parameters()] if decoder_only else model.parameters()
    optimizer = torch.optim.AdamW(list(trained), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    average, step, checkpoint = Averaged(model, 0.998), 0, output / "vae.pt"
    if checkpoint.exists():
        saved = load_checkpoint(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.values, step = {name: value.to(device) for name, value in saved["average"].items()}, saved["step"]
    while step < steps:
        torch.manual_seed(1000 + step)
        chance = np.random.default_rng([7, step])
        images = _batch(pairs, step, whole=start is not None or step > CROP_SHARE * steps).to(device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK_RATE, step=step, steps=steps, warm_up=50)
        with mixed_precision(device):
            if decoder_only:
                loss = decoder_loss(model, images)
            else:
                shrink, flip = chance.random() < 0.25, chance.random() < 0.5
                loss = autoencoder_loss(model, images, shrink=shrink, flip=flip)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        step += 1
        if step % 50 == 0:
            append_log(output / "log.jsonl", step=step, loss=loss)
        if step % save_every == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, state | {"average": average.values, "step": step})
    model.load_state_dict(average.values)
    _finish(model.eval(), pairs, output, normalise=not decoder_only)


def _finish(model: AutoencoderKL, pairs: Pairs, output: Path, *, normalise: bool) -> None:
    tested = images_to_tensor(images_of(pairs, range(len(pairs))[-min(64, len(pairs)) :])).to(model.device)
    if normalise:
        normalise_latents(model, images_to_tensor(images_of(pairs, range(min(256, len(pairs))))).to(model.device))
    partial, folder = output / "vae.partial", output / "vae"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    append_log(output / "log.jsonl", psnr=measure_psnr(model, tested))
    _write_reconstructions(model, tested[:8], output / "vae.png")


@torch.no_grad()
def _write_reconstructions(model: AutoencoderKL, images: Tensor, path: Path) -> None:
    """Images above their reconstructions."""
    output = model.decode(model.encode(images).latent_dist.mean).sample
    rows = [((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy() for x in (images, output)]
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m examples.small_model.autoencoder", description=__doc__)
    add_data_options(parser)
    parser.add_argument("--steps", type=int, required=True, help="optimizer steps")
    parser.add_argument("--start", type=Path, help="folder of an autoencoder to start from")
    parser.add_argument("--decoder-only", action="store_true", help="sharpen the decoder; latents stay as they are")
    options = parser.parse_args(arguments)
    train_autoencoder(
        pairs_of(options), options.output, steps=options.steps, start=options.start, decoder_only=options.decoder_only
    )


if __name__ == "__main__":
    main()
