"""All classes of a street photo at once, from simulated attention: labels, the 255 band, quality, against the human mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.metrics import Tally
from tests.benchmarks.photos_data import Pixels, StreetPhoto, street_classes, street_photos
from tests.benchmarks.photos_refine import EVERY_PIXEL, PAPER
from tests.benchmarks.photos_simulation import Seen, seen

LARGE = ("sky", "building", "road", "pavement", "tree", "car", "pedestrian")
"""Poles, signs, fences and bicyclists are thinner than a cell of attention."""

GIVEN_SHARE = 0.002
"""Classes that cover this much of a photo are given to the masks."""

CELLS = 16

STEP = 4
"""Every fourth test photo is measured: they are frames of two drives, one a second, and neighbours look alike."""

CLOSE_STEP = 4
"""The 255 band and the paper's refinement are measured on every fourth of those."""


@dataclass(slots=True)
class Band:
    """What 255 pixels of the masks would have been, had they got a class."""

    ignored: int = 0
    wrong: int = 0
    known: int = 0

    def add(self, masks: Masks, every_pixel: Masks, label: Pixels) -> None:
        """Counts the pixels of a photo whose class a person knew."""
        known = label != IGNORE
        ignored = known & (masks.semantic == IGNORE)
        self.known += int(known.sum())
        self.ignored += int(ignored.sum())
        self.wrong += int((ignored & (every_pixel.semantic != label)).sum())


@dataclass(slots=True)
class Streets:
    """What was counted so far; IoU of each way over all photos, (predicted quality, true IoU) of each class and photo."""

    classes: Sequence[str]
    tallies: dict[str, Tally] = field(default_factory=dict)
    beliefs: list[tuple[float, float]] = field(default_factory=list)
    band: Band = field(default_factory=Band)

    def add(self, way: str, label: Pixels, found: Pixels) -> None:
        """Counts one photo, done one ``way``."""
        # 0 is no class of the truth: what gets none is missed by its own class.
        self.tallies.setdefault(way, Tally(1 + len(self.classes))).add(label, found)

    def ious(self, way: str) -> npt.NDArray[np.float64]:
        """IoU of each class."""
        names = ["background", *self.classes]
        return np.array(self.tallies[way].scores(names, background=0).iou[1:])


def street_figures(*, quick: bool) -> tuple[dict[str, float], Streets]:
    """The figures of every fourth test photo of CamVid at 16 cells."""
    photos = street_photos("test")[:: 40 if quick else STEP]
    streets = Streets(street_classes())
    for place, photo in enumerate(photos):
        _look(streets, photo, key=place, closely=place % CLOSE_STEP == 0)
    large = np.isin(streets.classes, LARGE)
    refined, plain = streets.ious("refined"), streets.ious("plain")
    change = (refined - plain)[large]
    quality, truth = zip(*streets.beliefs, strict=True)
    figures = {"camvid_photos": float(len(photos))}
    for way in streets.tallies:
        figures |= {
            f"camvid_{way}_miou_7": float(np.nanmean(streets.ious(way)[large])),
            f"camvid_{way}_miou_11": float(np.nanmean(streets.ious(way))),
        }
    return figures | {
        "camvid_refined_gain": float(np.nanmean(change)),
        "camvid_refined_gain_11": float(np.nanmean(refined - plain)),
        "camvid_worst_class_change": float(np.nanmin(change)),
        "camvid_worst_class_change_11": float(np.nanmin(refined - plain)),
        **{f"camvid_change_{name}": float(gain) for name, gain in zip(streets.classes, refined - plain, strict=True)},
        "camvid_quality_correlation": float(spearmanr(quality, truth).statistic),
        "camvid_ignored_share": streets.band.ignored / streets.band.known,
        "camvid_ignored_would_be_wrong": streets.band.wrong / max(1, streets.band.ignored),
    }, streets


def attended(photo: StreetPhoto, *, key: int) -> Seen:
    """Simulated attention to each class that is there."""
    shares = np.bincount(photo.label.ravel(), minlength=IGNORE + 1)[:IGNORE] / photo.label.size
    given = np.flatnonzero(shares >= GIVEN_SHARE).tolist()
    return seen(photo.name, photo.image, {c: photo.label == c for c in given}, key=key, cells=CELLS)


def _look(streets: Streets, photo: StreetPhoto, *, key: int, closely: bool) -> None:
    item = attended(photo, key=key)
    ids = np.array(list(item.truth), dtype=np.uint8)
    every_pixel = _made(item, EVERY_PIXEL)
    plain = ids[item.heat.argmax(axis=0)]
    streets.add("refined", photo.label, every_pixel.semantic)
    streets.add("plain", photo.label, plain)
    streets.beliefs += _beliefs(every_pixel, photo.label, ids)
    if closely:
        streets.add("plain_closely", photo.label, plain)
        streets.add("paper_closely", photo.label, _made(item, PAPER).semantic)
        streets.band.add(_made(item, MaskSettings()), every_pixel, photo.label)


def _beliefs(masks: Masks, label: Pixels, ids: Pixels) -> list[tuple[float, float]]:
    known = label != IGNORE
    return [
        (quality, iou((masks.semantic == class_id) & known, label == class_id))
        for quality, class_id in zip(masks.class_qualities, ids.tolist(), strict=True)
    ]


def _made(item: Seen, settings: MaskSettings) -> Masks:
    return make_masks(item.image, item.heat, class_ids=list(item.truth), settings=settings)
