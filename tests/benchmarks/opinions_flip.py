"""Flip stability on scenes whose exact masks were damaged on purpose, alone and beside noise learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffumask_datasets.curation.opinions import STABLE, FlipStability
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.generation.flipping import mirrored_iou
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.toybox import CLASS_NAMES
from tests.benchmarks.mask_noise import KINDS, DamagedScene, damaged_scenes, noise_flags

PRECISION = 0.8


def flip_figures(*, scenes: int) -> dict[str, float]:
    """Recall and precision of the damaged masks, and recall of each kind of damage."""
    shown = damaged_scenes(scenes)
    scores = _stability(shown)
    figures = {"flip_scenes": float(scenes), "flip_recall_at_precision_80": _recall_at(scores, shown)}
    figures |= _both("flip", _unstable(scores), shown)
    for kind in KINDS:
        hits = [score < STABLE for score, one in zip(scores, shown, strict=True) if one.damage == kind]
        figures[f"flip_recall_{kind.replace(' ', '_')}"] = float(np.mean(hits)) if hits else float("nan")
    return figures


def joined_figures(*, scenes: int, epochs: int) -> dict[str, float]:
    """As ``curate`` does it: noise learning among what is stable.

    ``bench-masks`` has noise learning alone, on the same scenes.
    """
    shown = damaged_scenes(scenes)
    unstable = _unstable(_stability(shown))
    rest = [k for k in range(scenes) if k not in unstable]
    learned = {rest[place] for place in noise_flags([shown[k] for k in rest], epochs=epochs)}
    return {"joined_scenes": float(scenes), **_both("joined", unstable | learned, shown)}


def _stability(shown: Sequence[DamagedScene]) -> list[float]:
    """The lowest IoU of a class with its mirror image; 0 where there is no mask at all."""
    recipe = prepare(Recipe.of(classes=CLASS_NAMES))
    judge = FlipStability(lambda row: mirrored_iou(row, recipe, device="cpu"), CLASS_NAMES)
    rows = [
        {
            "sample_id": str(number),
            "image": png_cell(one.scene.image),
            "label": png_cell(one.label),
            "prompt": one.scene.caption,
            "seed": number,
        }
        for number, one in enumerate(shown)
    ]
    return [judge.about(row).score if one.label.any() else 0.0 for row, one in zip(rows, shown, strict=True)]


def _recall_at(scores: Sequence[float], shown: Sequence[DamagedScene]) -> float:
    """The largest recall at which :data:`PRECISION` of those under some limit are damaged."""
    wrong = np.array([bool(shown[place].damage) for place in np.argsort(scores, kind="stable")])
    hits = np.cumsum(wrong)
    enough = hits / np.arange(1, len(hits) + 1) >= PRECISION
    return float(hits[enough].max(initial=0) / max(1, wrong.sum()))


def _unstable(scores: Sequence[float]) -> set[int]:
    return {k for k, score in enumerate(scores) if score < STABLE}


def _both(name: str, found: set[int], shown: Sequence[DamagedScene]) -> dict[str, float]:
    wanted = {number for number, one in enumerate(shown) if one.damage}
    right = len(found & wanted)
    return {f"{name}_recall": right / max(1, len(wanted)), f"{name}_precision": right / max(1, len(found))}
