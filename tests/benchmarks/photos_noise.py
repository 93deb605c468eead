"""Noise learning, as ``diffumask curate`` does it, on street photographs of whose human masks three in ten were damaged."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffumask_datasets.curation.noise import EPOCHS, cross_validated_agreements, noise_training
from diffumask_datasets.curation.noise_flags import flag_noisy
from diffumask_datasets.curation.rejection import reject_by_itself
from diffumask_datasets.dataset.schema import png_cell
from tests.benchmarks.photos_damage import DAMAGED_SHARE, KINDS, damaged
from tests.benchmarks.photos_data import Pixels, street_classes, street_photos
from tests.helpers.noisy_rows import rows_of

FOLDS = 3
SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Damaged:
    """A photo, its label that may be damaged, and in which of the kinds it is; an empty name for none."""

    image: Pixels
    label: Pixels
    kind: str


def noise_figures(*, quick: bool) -> dict[str, float]:
    """Recall and precision on every other photo of the training split; the criterion was chosen on those between them."""
    samples = damaged_photos(odd=True, step=8 if quick else 2)
    names = street_classes()
    alone = found_alone(samples)
    rest = [place for place in range(len(samples)) if place not in alone]
    with tempfile.TemporaryDirectory() as folder:
        agreements = cross_validated_agreements(
            rows_of([samples[k].image for k in rest], [samples[k].label for k in rest], names),
            folds=FOLDS,
            folder=Path(folder),
            **noise_training(len(rest), folds=FOLDS, epochs=4 if quick else EPOCHS),
        )
    flagged = {k for k, flag in zip(rest, flag_noisy(agreements, names), strict=True) if flag}
    return {"noise_photos_camvid": len(samples), **figures_of(samples, alone | flagged)}


def damaged_photos(*, odd: bool, step: int = 2) -> list[Damaged]:
    """Photos of the training split at even or odd positions; the same ones damaged in the same way every time."""
    rng = np.random.default_rng(SEED if odd else 0)
    classes, samples = len(street_classes()), []
    for photo in street_photos("train")[odd::step]:
        kind = KINDS[int(rng.integers(len(KINDS)))] if rng.random() < DAMAGED_SHARE else ""
        label = damaged(photo.label, kind, rng, classes=classes) if kind else photo.label
        samples.append(Damaged(photo.image, label, kind))
    return samples


def found_alone(samples: list[Damaged]) -> set[int]:
    """Positions of the samples that are not believed without looking at any other."""
    rows = [{"sample_id": str(k), "label": png_cell(sample.label), "quality": 1.0} for k, sample in enumerate(samples)]
    return {k for k, row in enumerate(rows) if reject_by_itself(row, min_quality=0.0)}


def figures_of(samples: list[Damaged], found: set[int]) -> dict[str, float]:
    """Recall and precision of finding the damaged samples, and recall for each kind of damage."""
    kinds = {kind: {k for k, sample in enumerate(samples) if sample.kind == kind} for kind in KINDS}
    wanted = set[int]().union(*kinds.values())
    recalls = {
        f"noise_recall_camvid_{kind.replace(' ', '_')}": len(found & members) / len(members)
        for kind, members in kinds.items()
        if members
    }
    return {
        "noise_recall_camvid": len(found & wanted) / max(1, len(wanted)),
        "noise_precision_camvid": len(found & wanted) / max(1, len(found)),
        **recalls,
    }
