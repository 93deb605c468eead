"""DiffuMask's released mask procedure, written anew from its description: what bench_masks takes its cost from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydensecrf.densecrf as densecrf

LABELS = 21
CONFIDENCE = 0.7
GAMMAS = tuple(round(0.35 + 0.01 * step, 2) for step in range(20))


def official_crf(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """One DenseCRF of 21 labels from a hard mask, its lattice built anew, with the parameters of 512x512."""
    height, width = mask.shape
    crf = densecrf.DenseCRF2D(width, height, LABELS)
    probabilities = np.full((LABELS, height * width), (1 - CONFIDENCE) / (LABELS - 1), np.float32)
    flat = mask.ravel()
    probabilities[0, ~flat] = CONFIDENCE
    probabilities[1, flat] = CONFIDENCE
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities)))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=np.ascontiguousarray(image), compat=10)
    best = np.argmax(np.array(crf.inference(10)), axis=0)
    return np.asarray(best.reshape(height, width) == 1)


def official_mask(
    image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Twenty thresholds, each refined; the one that overlaps best with the affinity mask ``wanted``."""
    masks = [official_crf(image, heat >= gamma) for gamma in GAMMAS]
    overlaps = [np.count_nonzero(m & wanted) / max(1, np.count_nonzero(m | wanted)) for m in masks]
    return masks[int(np.argmax(overlaps))]
