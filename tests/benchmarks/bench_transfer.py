"""Attention settings that know nothing of a model, against settings tuned to it. Run by ``make bench-transfer``.

Held-out drawn scenes are shown to the shipped model with ``attention="auto"`` and nothing of the toybox's own fields, and
with those fields; finished masks are compared with exact truth. ``PARTS=mmdit`` does the same with a joint-attention
model of the same world (tests/models/mmdit), and has the judge name what it generates. ``ablation_…`` are on fewer
scenes, the same for every row. ``PARTS=families`` counts, over the families of docs/models.md, those with the right
defaults and the sizes refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.diffusion.attention_defaults import AUTO, JOINT
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
from tests.benchmarks.transfer_mmdit import MMDIT_TUNED, judged
from tests.helpers.small_mmdit import save_small_mmdit

TUNED = {"unet": dict(RECIPE_DEFAULTS), "mmdit": MMDIT_TUNED}
"""What ``diffumask tune-attention`` found for each model."""

DEFAULTS = {"unet": AUTO, "mmdit": JOINT}
"""What models of these kinds get that no recipe says anything of."""

GRIDS = {"unet": (4, 8, 16), "mmdit": (16,)}
"""All that the models have at 128 pixels."""


def variants(world: str) -> dict[str, dict[str, Any]]:
    """Fields of each recipe. ``paper`` is DiffuMask's fusion of all layers and steps, with our masks."""
    grids = {"attention_grids": GRIDS[world]}
    auto: dict[str, Any] = {**DEFAULTS[world], **grids}
    return {
        "auto": auto,
        "tuned": TUNED[world],
        "paper": {**grids, "attention_timesteps": (0, 1000)},
        "auto_without_weights": {**auto, "attention": "equal"},
        "auto_without_self_attention": {**auto, "affinity": None},
        "auto_without_competition": {**auto, "competition": 0},
        "auto_one_step": {**auto, "affinity_power": 1},
        "auto_four_steps": {**auto, "affinity_power": 4},
        "auto_without_phrases": {**auto, "attention_words": "class"},
        "auto_all_timesteps": {**auto, "attention_timesteps": (0, 1000)},
    }


PARTS = ("unet", "mmdit", "families")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    if "unet" in chosen:
        figures |= _world("unet", "toybox", quick=quick)
    if "mmdit" in chosen:
        with tempfile.TemporaryDirectory() as folder:
            model = save_small_mmdit(Path(folder))
            figures |= _world("mmdit", str(model), quick=quick)
            figures |= judged(model, per_class=1 if quick else 10)
    return figures | (family_figures(quick=quick) if "families" in chosen else {})


def _world(world: str, name: str, *, quick: bool) -> dict[str, float]:
    model = load_model(name, device="cpu")
    assert isinstance(model, Observer)
    scenes, few = (4, 2) if quick else (200, 50)
    demands = {"single": lambda _: Demand(count=1), "multi": methods.different_classes}
    figures: dict[str, float] = {"scenes": scenes, "ablation_scenes": few}
    with single_thread():
        for kind, demand in demands.items():
            for variant, fields in variants(world).items():
                recipe = Recipe.of(classes=CLASS_NAMES, **fields)
                wanted = scenes if variant in ("auto", "tuned") else few
                ious = [np.mean(_ious(model, recipe, seed, demand(seed))) for seed in range(wanted)]
                figures[f"{world}_ablation_{variant}_{kind}"] = float(np.mean(ious[:few]))
                if wanted == scenes:
                    figures[f"{world}_{variant}_{kind}"] = float(np.mean(ious))
    return figures


def _ious(model: Observer, recipe: Recipe, seed: int, demand: Demand) -> list[float]:
    shown = methods.show(model, seed, demand=demand, recipe=recipe)
    masks = methods.through_pipeline(shown, methods.our_heat(shown, recipe), MaskSettings.subset_of(recipe))
    return methods.class_ious(masks.semantic, shown.truth)


if __name__ == "__main__":
    run("transfer", measure, parts=PARTS, keeps=True)
