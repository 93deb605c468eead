"""What an affinity net is trained on: pixels that are surely a class or surely background, told from heat maps alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks.densecrf import PAPER_PARAMETERS, DenseCrf
from diffumask_datasets.masks.unary import best_labels, label_probabilities
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["SEED_SHARES", "make_seeds"]

SEED_SHARES = (0.3, 0.6)
"""The low and the high γ, as fractions of a heat map's own range."""


def make_seeds(image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Seeds uint8 (height, width) of heat maps (classes, height, width): 0 background, 1 + class index, 255 unknown.

    A class is sure where it survives DenseCRF at the high γ, the background where it wins DenseCRF at the low one
    (Ahn & Kwak 2018, section 4.1; DiffuMask, section 3.3).
    """
    crf = DenseCrf(image, 1 + len(heat_maps), parameters=PAPER_PARAMETERS)
    low, high = (best_labels(crf.refine(label_probabilities(heat_maps, _gammas(heat_maps, s)))) for s in SEED_SHARES)
    seeds = np.where(high > 0, high, np.where(low == 0, BACKGROUND, IGNORE))
    return np.asarray(seeds, dtype=np.uint8)


def _gammas(heat_maps: npt.NDArray[np.float32], share: float) -> list[float]:
    return [float(heat.min() + share * np.ptp(heat)) for heat in heat_maps]
