"""Blur, occlusion and perspective of one scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from diffumask_datasets.augmentation.scene import Scene, joined
from diffumask_datasets.recipes.augment_settings import Blur, Occlude, Perspective
from diffumask_datasets.sample import IGNORE

__all__ = ["blurred", "occluded", "seen_from_elsewhere"]

Corners = npt.NDArray[np.float64]


def blurred(scene: Scene, settings: Blur, rng: np.random.Generator) -> Scene:
    """Blurs the image by a Gaussian (as three box filters); masks stay.

    Args:
        scene: The scene.
        settings: The range of kernel sizes.
        rng: Draws the size.

    Returns:
        The blurred scene.
    """
    kernel = rng.uniform(*settings.kernel)
    # The usual relation of kernel size and standard deviation.
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    soft = Image.fromarray(scene.image).filter(ImageFilter.GaussianBlur(max(sigma, 0.1)))
    return scene.replaced(image=np.asarray(soft))


def occluded(scene: Scene, other: Scene, settings: Occlude, rng: np.random.Generator) -> Scene:
    """Pastes patches of another scene, image and masks alike; an object that is cut stays one object.

    Args:
        scene: The scene that is pasted on.
        other: The scene that lends the patches.
        settings: How many patches, and how large.
        rng: Draws the patches.

    Returns:
        The occluded scene.
    """
    things, origins, (_, offset) = joined([scene, other])
    image, label, instances = scene.image.copy(), scene.label.copy(), scene.instances.copy()
    heat_maps = {category: soft.copy() for category, soft in scene.heat_maps.items()}
    for category in other.heat_maps:
        heat_maps.setdefault(category, np.zeros(scene.size, np.uint8))
    for _ in range(int(rng.integers(settings.patches[0], settings.patches[1] + 1))):
        height, width = (_side(rng, settings, sides) for sides in zip(scene.size, other.size, strict=True))
        here, there = (_place(rng, owner.size, height, width) for owner in (scene, other))
        image[here] = other.image[there]
        label[here] = other.label[there]
        instances[here] = np.where(other.instances[there] > 0, other.instances[there] + offset, 0)
        for category, soft in heat_maps.items():
            soft[here] = other.heat_maps[category][there] if category in other.heat_maps else 0
    return Scene(image, label, instances, things, origins, heat_maps)


def seen_from_elsewhere(scene: Scene, settings: Perspective, rng: np.random.Generator) -> Scene:
    """Puts the scene under a random perspective; what lies outside of it is black and 255.

    Args:
        scene: The scene.
        settings: How far the corners move.
        rng: Draws the perspective.

    Returns:
        The changed scene.
    """
    height, width = scene.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], float)
    moved = corners + inwards * rng.uniform(0, settings.distortion / 2, (4, 2)) * [width, height]
    return warped(scene, _homography(moved, corners))


def warped(scene: Scene, coefficients: Corners) -> Scene:
    """The scene with pixel (x, y) taken from (a x + b y + c, d x + e y + f) / (g x + h y + 1) of the old one."""
    height, width = scene.size
    # One warp for both masks: they cannot disagree.
    packed = _warp((scene.instances << 8) | scene.label, coefficients, Image.Resampling.NEAREST, IGNORE)
    outside = _warp(np.zeros((height, width), np.uint8), coefficients, Image.Resampling.NEAREST, 255) == 255
    image = _warp(scene.image, coefficients, Image.Resampling.BILINEAR, 0).copy()
    image[outside] = 0
    return scene.replaced(
        image=image,
        label=(packed & 255).astype(np.uint8),
        instances=(packed >> 8).astype(np.int32),
        amodal=(),
        heat_maps={
            category: _warp(soft, coefficients, Image.Resampling.BILINEAR, 0)
            for category, soft in scene.heat_maps.items()
        },
    )


def _warp(pixels: npt.NDArray[Any], coefficients: Corners, filter_: Image.Resampling, fill: int) -> npt.NDArray[Any]:
    height, width = pixels.shape[:2]
    source = Image.fromarray(pixels)
    method = Image.Transform.PERSPECTIVE
    return np.asarray(
        source.transform(
            (width, height), method, tuple(coefficients), filter_, fillcolor=(fill,) * 3 if pixels.ndim == 3 else fill
        )
    )


def _homography(source: Corners, target: Corners) -> Corners:
    """The eight coefficients that map four points (x, y) onto four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def _side(rng: np.random.Generator, settings: Occlude, sides: tuple[int, int]) -> int:
    return max(1, min(round(rng.uniform(*settings.size) * sides[0]), *sides))


def _place(rng: np.random.Generator, size: tuple[int, int], height: int, width: int) -> tuple[slice, slice]:
    top = int(rng.integers(0, size[0] - height + 1))
    left = int(rng.integers(0, size[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)
