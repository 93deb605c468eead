"""What a model sees in images: vectors whose distances tell near duplicates. Only from weights that are here already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.models.weights import load_whole, quiet_loading

__all__ = ["checkpoint_embeddings", "latent_embeddings"]

GRID = 4
"""Latents are averaged over a grid of this many cells a side, so that layout counts and single pixels do not."""

BATCH = 16


@model_lock
def latent_embeddings(
    model: str, revision: str | None, images: Sequence[npt.NDArray[np.uint8]]
) -> npt.NDArray[np.float32]:
    """Embeds images by the autoencoder of the diffusion model that made them.

    Args:
        model: The model, a folder or Hub id.
        revision: Its revision.
        images: uint8 (height, width, 3) each.

    Returns:
        Pooled latents, float32 (images, channels · GRID²).

    Raises:
        ModelError: The model is not on this machine; nothing is downloaded for this.
    """
    from diffusers import AutoencoderKL

    folder = PIPELINE.named(model).local
    try:
        vae = load_whole(
            AutoencoderKL,
            str(folder) if folder else model,
            what=f"the vae of {model!r}",
            subfolder="vae",
            revision=None if folder else revision,
            local_files_only=True,
            use_safetensors=True,
        ).eval()
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the weights of {model!r} are not on this machine: {type(error).__name__}") from error
    vectors = []
    with torch.inference_mode():
        for pixels in _batches(images):
            latents = vae.encode(pixels * 2 - 1).latent_dist.mean
            vectors.append(F.adaptive_avg_pool2d(latents, GRID).flatten(1))
    return np.asarray(torch.cat(vectors).float().numpy())


@model_lock
def checkpoint_embeddings(checkpoint: str | Path, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """Mean last hidden state of a transformers vision model in the folder ``checkpoint``: float32 (images, width).

    Raises:
        ModelError: no folder with such a model; nothing is downloaded and no code of the folder is run.
    """
    from transformers import AutoModel

    # By its module: from the package itself, some versions hand it out only where torchvision is installed.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    folder = Path(checkpoint).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{checkpoint} is no folder with a transformers model (config.json)")
    try:
        with quiet_loading():
            processor = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        network = load_whole(AutoModel, str(folder), what=str(checkpoint), local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{checkpoint}: {' '.join(str(error).split())}") from error
    vision = getattr(network.eval(), "vision_model", network)
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            inputs = processor(images=list(images[start : start + BATCH]), return_tensors="pt")
            hidden = vision(pixel_values=inputs["pixel_values"]).last_hidden_state
            # (batch, tokens, width), or (batch, channels, height, width) of a convolutional network
            vectors.append(hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3)))
    return np.asarray(torch.cat(vectors).float().numpy())


def _batches(images: Sequence[npt.NDArray[np.uint8]]) -> list[torch.Tensor]:
    parts = [np.stack(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    # (batch, height, width, 3) → (batch, 3, height, width) in [0, 1]
    return [torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255 for part in parts]
