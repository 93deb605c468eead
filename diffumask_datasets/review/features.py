"""Numbers that tell a reviewer where to look first. Pure functions of rows; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial import cKDTree

from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, soft_maps_of
from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.normalization import normalize_locally
from diffumask_datasets.masks.quantization import dequantize

__all__ = ["colour_embedding", "embeddings_of", "nearest", "raw_disagreement", "raw_masks"]

Pixels = npt.NDArray[np.uint8]

COLOUR_GRID = 8


def raw_disagreement(row: Row, label: Pixels, *, normalization: str | None = "local") -> float | None:
    """Measures how far the refinement moved the masks: 1 − IoU with the thresholded heat maps, mean over the visible
    classes.

    Args:
        row: The row, whose γ are taken.
        label: The refined mask.
        normalization: The recipe's ``heat_normalization``, for which γ was chosen.

    Returns:
        In [0, 1]; None where the dataset keeps no heat maps, or no class is visible.
    """
    if not row.get(HEAT_MAPS):
        return None
    differences = []
    for class_id, raw in raw_masks(row, label.shape, normalization).items():
        refined = label == class_id
        both = int((raw | refined).sum())
        differences.append(1 - int((raw & refined).sum()) / both if both else 0.0)
    return float(np.mean(differences)) if differences else None


def raw_masks(row: Row, shape: tuple[int, ...], normalization: str | None) -> dict[int, npt.NDArray[np.bool_]]:
    """The mask of each visible class before refinement: where its heat map reaches the row's γ.

    Args:
        row: A row with heat maps.
        shape: Height and width of the masks.
        normalization: The recipe's ``heat_normalization``.

    Returns:
        Class id → bool (height, width).
    """
    height, width = shape
    categories, soft_maps = soft_maps_of(row)
    maps = dict(zip(categories, dequantize(soft_maps, height=height, width=width), strict=True))
    masks = {}
    for class_id, threshold in zip(row["classes"], row["threshold"], strict=True):
        if class_id in maps:
            heat = normalize_locally(maps[class_id]) if normalization == "local" else maps[class_id]
            masks[class_id] = heat >= threshold
    return masks


def embeddings_of(
    images: Sequence[Pixels], *, model: str, revision: str | None = None, checkpoint: str | Path | None = None
) -> npt.NDArray[np.float32]:
    """Embeds images: by the user's checkpoint, else by the diffusion model, else by their colours.

    Args:
        images: uint8 (height, width, 3) each.
        model: The diffusion model that made them.
        revision: Its revision.
        checkpoint: The folder of a model of transformers.

    Returns:
        One vector an image, of length 1.

    Raises:
        ModelError: ``checkpoint`` is no model.
    """
    if checkpoint is not None:
        from diffumask_datasets.diffusion.embedding import checkpoint_embeddings

        return _unit(checkpoint_embeddings(checkpoint, images))
    if model != "planted":
        from diffumask_datasets.diffusion.embedding import latent_embeddings

        try:
            return _unit(latent_embeddings(model, revision, images))
        except ModelError:
            # Reviewing needs no model: coarse colours find copies too.
            pass
    return _unit(np.stack([colour_embedding(image) for image in images]))


def colour_embedding(image: Pixels) -> npt.NDArray[np.float32]:
    """The image shrunk to a few cells of mean colour, around 0: float32 (COLOUR_GRID² · 3,)."""
    small = Image.fromarray(image).resize((COLOUR_GRID, COLOUR_GRID), Image.Resampling.BOX)
    return np.asarray(np.asarray(small, dtype=np.float32) / 255 - 0.5, dtype=np.float32).ravel()


def nearest(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """For each of the vectors of length 1 the index of its nearest other, and their cosine distance in [0, 2]."""
    count = len(vectors)
    if count < 2:
        return np.full(count, -1), np.full(count, 2.0, dtype=np.float32)
    distances, neighbours = cKDTree(vectors).query(vectors, k=2)
    # An exact copy may come first and the vector itself second.
    column = np.where(neighbours[:, 0] == np.arange(count), 1, 0)
    rows = np.arange(count)
    # |a - b|² = 2 - 2 cos of vectors of length 1
    return neighbours[rows, column], (distances[rows, column] ** 2 / 2).astype(np.float32)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = vectors - vectors.mean(axis=0) if len(vectors) > 2 else vectors
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (centred / np.maximum(length, 1e-8)).astype(np.float32)
    return unit
