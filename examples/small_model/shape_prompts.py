"""Prompts for drawn objects: what is asked of a promptable segmenter while it learns, and the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from examples.small_model.drawn_shapes import ShapeScene

__all__ = ["MASK_SIDE", "POINTS", "Asked", "ask", "correcting_point"]

POINTS = 6
"""Points of a prompt; those it does without are padding."""

MASK_SIDE = 64
"""Side of mask inputs and outputs of images of 128 pixels."""

LEAST_PIXELS = 60
"""A smaller instance is never asked for."""

PADDING = -10
"""The label of a point that is none."""

LOGIT_LIMIT = 10.0


@dataclass(frozen=True)
class Asked:
    """Prompts and truths of a batch, each the first axis.

    ``image`` (n,) is the number of the image; ``points`` (n, POINTS, 2) as x, y in pixels, ``labels`` (n, POINTS) 1, 0 or
    padding, ``boxes`` (n, 4) as x1, y1, x2, y2, ``heat`` (n, 1, side, side) logits, ``truth`` (n, side, side) in [0, 1].
    """

    image: Tensor
    points: Tensor
    labels: Tensor
    boxes: Tensor
    heat: Tensor
    truth: Tensor


def ask(scenes: list[ShapeScene], each: int, rng: np.random.Generator) -> Asked:
    """``each`` prompts for every scene; scenes without a large enough instance are left out."""
    rows = []
    for number, scene in enumerate(scenes):
        areas = np.bincount(scene.instances.ravel(), minlength=len(scene.kinds) + 1)[1:]
        visible = np.flatnonzero(areas >= LEAST_PIXELS) + 1
        rows += [(number, *_one(scene, int(rng.choice(visible)), rng)) for _ in range(each if len(visible) else 0)]
    image, points, labels, boxes, heat, truth = zip(*rows, strict=True)
    return Asked(
        torch.tensor(image),
        torch.tensor(np.stack(points), dtype=torch.float32),
        torch.tensor(np.stack(labels), dtype=torch.int),
        torch.tensor(np.stack(boxes), dtype=torch.float32),
        torch.tensor(np.stack(heat), dtype=torch.float32)[:, None],
        torch.tensor(np.stack(truth), dtype=torch.float32),
    )


def _one(scene: ShapeScene, chosen: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    mask = scene.instances == chosen
    points, labels = _points(scene.instances, mask, rng)
    return points, labels, _box(mask, rng), _heat(scene, chosen, rng), _shrunk(mask)


def _points(
    instances: NDArray[np.uint8], mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The deepest point or any other of the object, up to two more, and up to three that lie elsewhere."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inside = np.argwhere(depth > min(2.0, depth.max() / 2))
    found = [np.unravel_index(depth.argmax(), mask.shape)] if rng.random() < 0.4 else []
    found += [inside[rng.integers(len(inside))] for _ in range(int(rng.choice((1, 1, 2, 3))) - len(found))]
    labels = [1] * len(found)
    near = ndimage.binary_dilation(mask, iterations=12) & ~mask
    for _ in range(int(rng.choice((0, 0, 1, 2, 3)))):
        places = (~mask, near, (instances > 0) & ~mask)[int(rng.integers(3))]
        outside = np.argwhere(places if places.any() else ~mask)
        if len(outside):
            found.append(outside[rng.integers(len(outside))])
            labels.append(0)
    rest = POINTS - len(found)
    points = np.concatenate([np.asarray(found, dtype=np.float64)[:, ::-1], np.zeros((rest, 2))])
    return points, np.array([*labels, *[PADDING] * rest], dtype=np.float64)


def _box(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """The box of the object, each edge moved by up to a tenth of its side, outwards rather than inwards."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)
    sides = np.tile(box[2:] - box[:2] + 1, 2)
    moved = box + np.array([-1, -1, 1, 1]) * rng.uniform(-0.05, 0.15, 4) * sides
    return np.clip(moved, 0, np.tile(mask.shape[::-1], 2) - 1)


def _heat(scene: ShapeScene, chosen: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Logits of a blurred, uneven and noisy mask, often with copies of the object in it and weaker other objects."""
    kinds = np.array([-1, *scene.kinds])
    share = np.where(kinds == kinds[chosen], float(rng.random() < 0.7), rng.uniform(0, 0.5) * (rng.random() < 0.5))
    share[0], share[chosen] = 0.0, 1.0
    cells = rng.uniform(0.6, 1.0, (5, 5))
    uneven = ndimage.zoom(cells, MASK_SIDE / 5, order=1)
    blurred = ndimage.gaussian_filter(_shrunk_values(share[scene.instances]) * uneven, rng.uniform(0.7, 4.0))
    blurred = blurred / blurred.max() + rng.uniform(0, 0.06) * rng.standard_normal(blurred.shape)
    logits: NDArray[np.float64] = np.clip((blurred - rng.uniform(0.25, 0.6)) / 0.1, -LOGIT_LIMIT, LOGIT_LIMIT)
    return logits


def _shrunk(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return _shrunk_values(mask.astype(np.float64))


def _shrunk_values(values: NDArray[np.float64]) -> NDArray[np.float64]:
    factor = len(values) // MASK_SIDE
    mean: NDArray[np.float64] = values.reshape(MASK_SIDE, factor, MASK_SIDE, factor).mean(axis=(1, 3))
    return mean


def correcting_point(logits: Tensor, truth: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """The point (n, 1, 2) deep within the largest mistake of masks (n, side, side), in pixels, and its label (n, 1)."""
    wrong = ((logits > 0) != (truth > 0.5)).float()[:, None]
    depth = functional.avg_pool2d(wrong, 7, stride=1, padding=3) * wrong
    where = (depth.flatten(1) + 0.02 * torch.rand(len(wrong), depth[0].numel())).argmax(dim=1)
    rows, columns = where // MASK_SIDE, where % MASK_SIDE
    points = torch.stack([columns, rows], dim=1)[:, None].float() * scale + scale / 2 - 0.5
    labels = truth.flatten(1).gather(1, where[:, None]) > 0.5
    return points, labels.int()
