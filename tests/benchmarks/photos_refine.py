"""One class of a photo: each step of the mask pipeline against the human mask, from simulated attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.thresholds import coarse_to_fine
from diffumask_datasets.recipes.settings import MaskSettings
from tests.benchmarks.photos_data import OutlinedPhoto, outlined_photos
from tests.benchmarks.photos_simulation import LEAKING, NOISY, STANDARD, Attention, Seen, seen

CELLS = (8, 16, 32, 64)
REPORTED_CELLS = 16
LEAST_SHARE = 0.02
"""Objects cover this much of the photo: smaller ones are a cell or two."""

GAMMAS = tuple(round(0.15 + 0.05 * step, 2) for step in range(15))
HARM = 0.02
"""Refinement harms an object that loses more IoU than this."""

EVERY_PIXEL = MaskSettings(ignore_margin=0.0)
"""The defaults, but each pixel has to be named: a method cannot gain or lose by what it ignores."""

PAPER = EVERY_PIXEL.model_copy(update={"heat_normalization": None, "refinement": "densecrf-paper"})
ALTERNATIVES = {
    "paper": PAPER,
    "fixed_03": EVERY_PIXEL.model_copy(update={"threshold": 0.3}),
    "fixed_05": EVERY_PIXEL.model_copy(update={"threshold": 0.5}),
    "otsu": EVERY_PIXEL.model_copy(update={"threshold": "otsu"}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One object: its mask as the product makes it by default (255 ignored), and IoU of each variant."""

    item: Seen
    masks: Masks
    ious: dict[str, float]

    @property
    def quality(self) -> float:
        """What the product believes of it."""
        return self.masks.class_qualities[0]


def objects(
    photos: Sequence[OutlinedPhoto], *, cells: int = REPORTED_CELLS, attention: Attention = STANDARD
) -> list[Seen]:
    """One for each class of each photo that covers :data:`LEAST_SHARE` of it: all its outlines together."""
    return [
        seen(photo.name, photo.image, {class_id: mask}, key=int(photo.name), cells=cells, attention=attention)
        for photo in photos
        for class_id, mask in photo.class_masks().items()
        if mask.mean() >= LEAST_SHARE
    ]


def refine_figures(*, quick: bool) -> tuple[dict[str, float], list[Judged]]:
    """Figures of single classes at 16 cells, and the objects of the reported half; of the other half the defaults alone."""
    judged = [judge(item) for item in objects(outlined_photos(odd=True)[: 6 if quick else None])]
    figures = {
        "objects": len(judged),
        **means([one.ious for one in judged]),
        "quality_correlation": correlation(judged),
    }
    chosen = defaults_only(objects(outlined_photos(odd=False)[: 3 if quick else None]))
    return figures | {f"{name}_choosing_half": value for name, value in means(chosen).items()}, judged


def robustness_figures(*, quick: bool) -> dict[str, float]:
    """Those of every other photo of the reported half with other numbers of cells, and with other simulated attention.

    By the defaults alone: a search for the best γ of every object would take six times as long.
    """
    photos, figures = outlined_photos(odd=True)[:2] if quick else outlined_photos(odd=True)[::2], {}
    variants = {f"{cells}_cells": {"cells": cells} for cells in CELLS}
    variants |= {"noisy": {"attention": NOISY}, "leaking": {"attention": LEAKING}}
    for name, variant in variants.items():
        found = means(defaults_only(objects(photos, **variant)))
        figures |= {f"{figure}_{name}": value for figure, value in found.items()}
    return figures


def judge(item: Seen, *, search: bool = True) -> Judged:
    """Every variant of one object; with ``search`` also the best γ of the object, which takes most of the time."""
    made, (truth,) = _made(item, EVERY_PIXEL), item.truth.values()
    ious = by_default(item, made)
    ious |= {name: _iou(item, _made(item, settings)) for name, settings in ALTERNATIVES.items()}
    if search:
        ious["best_gamma"] = max(ious["refined"], _best_refined(item))
        ious["best_gamma_plain"] = max(iou(item.heat[0] >= gamma, truth) for gamma in GAMMAS)
    masks = _made(item, MaskSettings())
    ious["band_missed"] = _iou(item, masks)
    return Judged(item, masks, ious)


def defaults_only(items: Sequence[Seen]) -> list[dict[str, float]]:
    """:func:`by_default` of each object."""
    return [by_default(item, _made(item, EVERY_PIXEL)) for item in items]


def by_default(item: Seen, made: Masks) -> dict[str, float]:
    """IoU of the masks ``made`` with :data:`EVERY_PIXEL`, and of the same γ without refinement and on the bare heat."""
    (gamma,), (truth,) = made.thresholds, item.truth.values()
    same = EVERY_PIXEL.model_copy(update={"threshold": gamma, "refinement": None})
    return {
        "refined": _iou(item, made),
        "unrefined": _iou(item, _made(item, same)),
        "plain": iou(item.heat[0] >= gamma, truth),
    }


def means(ious: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean IoU of each variant over the objects, and what follows from them."""
    mean = {name: float(np.mean([one[name] for one in ious])) for name in ious[0]}
    gains = np.array([one["refined"] - one["unrefined"] for one in ious])
    figures = {f"{name}_iou": value for name, value in mean.items()}
    figures |= {"refinement_gain": float(gains.mean()), "refinement_harm_share": float(np.mean(gains < -HARM))}
    return figures | ({"gamma_gap": mean["best_gamma"] - mean["refined"]} if "best_gamma" in mean else {})


def correlation(judged: Sequence[Judged]) -> float:
    """Spearman's, of the quality that the product gives and the true IoU."""
    return float(spearmanr([one.quality for one in judged], [one.ious["refined"] for one in judged]).statistic)


def _best_refined(item: Seen) -> float:
    """IoU at the best of :data:`GAMMAS`; every third is tried first, then those around the best."""

    def score(place: int) -> float:
        return _iou(item, _made(item, EVERY_PIXEL.model_copy(update={"threshold": GAMMAS[place]})))

    best, scores = coarse_to_fine(score, len(GAMMAS), step=3)
    return scores[best]


def _made(item: Seen, settings: MaskSettings) -> Masks:
    return make_masks(item.image, item.heat, class_ids=[1], settings=settings)


def _iou(item: Seen, masks: Masks) -> float:
    (truth,) = item.truth.values()
    return iou(masks.semantic == 1, truth)
