"""Noise learning on rendered scenes whose exact masks were damaged on purpose."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.curation.noise import cross_validated_agreements, noise_training
from diffumask_datasets.curation.noise_flags import flag_noisy
from diffumask_datasets.curation.rejection import reject_by_itself
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.toybox import CLASS_NAMES, Demand, Scene, render_scene
from tests.helpers.noisy_rows import rows_of

DAMAGED_SHARE = 0.3
KINDS = ("shifted", "eroded", "half missing", "wrong class", "empty")

Label = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DamagedScene:
    """A scene with a mask that was damaged in the way ``damage``, untouched where that is empty."""

    scene: Scene
    label: Label
    damage: str


def damaged_scenes(count: int) -> list[DamagedScene]:
    """Scenes with one object, :data:`DAMAGED_SHARE` of them damaged."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(count):
        scene = render_scene(seed, split="validation", demand=Demand(count=1))
        kind = KINDS[int(rng.integers(len(KINDS)))] if rng.random() < DAMAGED_SHARE else ""
        found.append(DamagedScene(scene, damaged(scene.semantic, kind, rng), kind))
    return found


def noise_figures(*, scenes: int, epochs: int, folds: int = 3) -> dict[str, float]:
    """Recall and precision of finding the damaged masks, all together and recall for each kind of damage."""
    shown = damaged_scenes(scenes)
    found = noise_flags(shown, epochs=epochs, folds=folds)
    damage = [one.damage for one in shown]
    wanted = {k for k, kind in enumerate(damage) if kind}
    recalls = {f"noise_recall_{kind.replace(' ', '_')}": _recall(found, damage, kind) for kind in KINDS}
    return {
        "noise_recall": len(found & wanted) / max(1, len(wanted)),
        "noise_precision": len(found & wanted) / max(1, len(found)),
        **recalls,
    }


def noise_flags(shown: Sequence[DamagedScene], *, epochs: int, folds: int = 3) -> set[int]:
    """Numbers of the scenes whose mask is not believed: what speaks for itself, and noise learning on the others."""
    labels = [one.label for one in shown]
    rows = [{"sample_id": str(k), "label": png_cell(label), "quality": 1.0} for k, label in enumerate(labels)]
    found = {k for k, row in enumerate(rows) if reject_by_itself(row, min_quality=0.0)}
    rest = [k for k in range(len(shown)) if k not in found]
    with tempfile.TemporaryDirectory() as folder:
        agreements = cross_validated_agreements(
            rows_of([shown[k].scene.image for k in rest], [labels[k] for k in rest], CLASS_NAMES),
            folds=folds,
            folder=Path(folder),
            **noise_training(len(rest), folds=folds, epochs=epochs),
        )
    return found | {k for k, flag in zip(rest, flag_noisy(agreements, CLASS_NAMES), strict=True) if flag}


def damaged(label: Label, kind: str, rng: np.random.Generator) -> Label:
    """The mask of a scene with one class, damaged in one of :data:`KINDS`; untouched for an empty name."""
    mask = label > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if kind == "shifted":
        shift = [int(rng.choice((-1, 1)) * rng.uniform(0.2, 0.4) * np.ptp(edge)) for edge in (rows, columns)]
        return np.roll(label, shift, axis=(0, 1))
    if kind == "eroded":
        depth = ndimage.distance_transform_edt(mask)
        return np.where(depth > np.quantile(depth[mask], 0.5), label, 0).astype(np.uint8)
    if kind == "half missing":
        return np.where(np.arange(label.shape[1])[None] < np.median(np.nonzero(mask)[1]), label, 0).astype(np.uint8)
    if kind == "wrong class":
        other = (int(label.max()) + int(rng.integers(1, len(CLASS_NAMES))) - 1) % len(CLASS_NAMES) + 1
        return np.where(mask, other, 0).astype(np.uint8)
    return np.zeros_like(label) if kind == "empty" else label


def _recall(found: set[int], damage: list[str], kind: str) -> float:
    members = {k for k, name in enumerate(damage) if name == kind}
    return len(found & members) / len(members) if members else float("nan")
