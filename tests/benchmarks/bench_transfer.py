"""Attention settings that know nothing of a model, against settings tuned to it. Run by ``make bench-transfer``.

Held-out drawn scenes are shown to the shipped model with ``attention="auto"`` and nothing of the toybox's own fields, and
with those fields; finished masks are compared with exact truth. ``ablation_…`` are on fewer scenes, the same for every row.
``PARTS=families`` counts, over the families of docs/models.md, those with the right defaults and the sizes refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffumask_datasets.diffusion.attention_defaults import AUTO as ATTENTION
from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.toybox import CLASS_NAMES, Demand
from diffumask_datasets.toybox.world import RECIPE_DEFAULTS
from tests.benchmarks import mask_methods as methods
from tests.benchmarks.harness import run
from tests.benchmarks.transfer_families import family_figures

GRIDS = (4, 8, 16)
"""All that the toybox has at 128 pixels."""

AUTO: dict[str, Any] = {**ATTENTION, "attention_grids": GRIDS}

VARIANTS: dict[str, dict[str, Any]] = {
    "auto": AUTO,
    "tuned": dict(RECIPE_DEFAULTS),
    "paper": {"attention_grids": GRIDS, "attention_timesteps": (0, 1000)},
    "auto_without_weights": {**AUTO, "attention": "equal"},
    "auto_without_self_attention": {**AUTO, "affinity": None},
    "auto_without_competition": {**AUTO, "competition": 0},
    "auto_without_phrases": {**AUTO, "attention_words": "class"},
    "auto_all_timesteps": {**AUTO, "attention_timesteps": (0, 1000)},
}
"""Fields of each recipe. ``paper`` is DiffuMask's fusion of all layers and steps, with our masks."""


PARTS = ("unet", "families")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    figures = _unet(quick=quick) if "unet" in chosen else {}
    return {**figures, **(family_figures(quick=quick) if "families" in chosen else {})}


def _unet(*, quick: bool) -> dict[str, float]:
    model = load_model("toybox", device="cpu")
    assert isinstance(model, Observer)
    scenes, few = (4, 2) if quick else (200, 50)
    demands = {"single": lambda _: Demand(count=1), "multi": methods.different_classes}
    figures: dict[str, float] = {"scenes": scenes, "ablation_scenes": few}
    with single_thread():
        for kind, demand in demands.items():
            for name, fields in VARIANTS.items():
                recipe = Recipe.of(classes=CLASS_NAMES, **fields)
                wanted = scenes if name in ("auto", "tuned") else few
                ious = [np.mean(_ious(model, recipe, seed, demand(seed))) for seed in range(wanted)]
                figures[f"ablation_{name}_{kind}"] = float(np.mean(ious[:few]))
                if wanted == scenes:
                    figures[f"unet_{name}_{kind}"] = float(np.mean(ious))
    return figures


def _ious(model: Observer, recipe: Recipe, seed: int, demand: Demand) -> list[float]:
    shown = methods.show(model, seed, demand=demand, recipe=recipe)
    masks = methods.through_pipeline(shown, methods.our_heat(shown, recipe), MaskSettings.subset_of(recipe))
    return methods.class_ious(masks.semantic, shown.truth)


if __name__ == "__main__":
    run("transfer", measure, parts=PARTS, keeps=True)
