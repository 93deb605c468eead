"""Attention simulated from human masks: coarse, uneven within the object, leaking around it, noisy. No model has made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage
from skimage.transform import resize_local_mean

from tests.benchmarks.photos_data import Mask, Pixels

Heat = npt.NDArray[np.float32]

REFERENCE_CELLS = 16
"""Blurs are in cells of this grid; on a finer one they are as wide on the photo."""


@dataclass(frozen=True, slots=True)
class Attention:
    """How attention departs from the share of each cell that the object covers.

    Parts of an object get up to ``uneven`` less; ``leak`` of the heat spreads to the cells around; a smooth ``floor`` lies
    everywhere; ``noise`` is that of each cell by itself. All are shares of the strongest cell, more or less.
    """

    uneven: float = 0.5
    leak: float = 0.35
    floor: float = 0.08
    noise: float = 0.05


STANDARD = Attention()
NOISY = Attention(uneven=0.3, leak=0.2, noise=0.1)
LEAKING = Attention(uneven=0.8, leak=0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A photo (height, width, 3), masks of some of its classes by id, and a simulated heat map of each, in their order."""

    name: str
    image: Pixels
    truth: dict[int, Mask]
    heat: Heat  # (classes, height, width) in [0, 1]


def seen(
    name: str, image: Pixels, truth: dict[int, Mask], *, key: int, cells: int, attention: Attention = STANDARD
) -> Seen:
    """The same for the same ``key`` (of the photo) and number of ``cells``, whatever other classes there are."""
    size = image.shape[:2]
    maps = [
        upsampled(
            attend(mask, cells=cells, rng=np.random.default_rng([key, class_id, cells]), attention=attention), size
        )
        for class_id, mask in truth.items()
    ]
    return Seen(name, image, truth, np.stack(maps))


def attend(
    mask: Mask, *, cells: int, rng: np.random.Generator, attention: Attention = STANDARD
) -> npt.NDArray[np.float64]:
    """Attention (``cells``, ``cells``) to a mask (height, width); the strongest cell has 1."""
    scale = cells / REFERENCE_CELLS
    covered = resize_local_mean(mask.astype(np.float32), (cells, cells)).astype(np.float64)
    parts = covered * (1 - attention.uneven * _hills(rng, cells, 2 * scale))
    around = ndimage.gaussian_filter(parts, scale, mode="nearest")
    heat = (1 - attention.leak) * parts + attention.leak * around
    floor = attention.floor * _hills(rng, cells, 2.5 * scale)
    noise = attention.noise * np.abs(rng.standard_normal((cells, cells))) * max(float(heat.max()), 1e-6)
    heat = heat + floor + noise
    return np.asarray(heat / heat.max())


def upsampled(attention: npt.NDArray[np.float64], size: tuple[int, int]) -> Heat:
    """Attention as a heat map of the photo's ``size``, as synthesis upsamples it; the strongest pixel has 1."""
    cells = torch.from_numpy(attention.astype(np.float32))[None, None]
    heat = F.interpolate(cells, size=size, mode="bicubic", align_corners=False)[0, 0].clamp_min(0)
    return np.asarray((heat / heat.max()).numpy(), dtype=np.float32)


def _hills(rng: np.random.Generator, cells: int, width: float) -> npt.NDArray[np.float64]:
    """Smooth noise in [0, 1]."""
    hills = ndimage.gaussian_filter(rng.random((cells, cells)), width, mode="reflect")
    hills -= hills.min()
    return np.asarray(hills / max(float(hills.max()), 1e-9))
