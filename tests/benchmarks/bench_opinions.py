"""A promptable segmenter against DenseCRF on attention of the drawn world. Run by ``make bench-opinions SEGMENTER=MODEL``.

``MODEL`` is a folder or Hub id; ``python -m examples.small_model.promptable`` trains a small one that never sees the ten
classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.refinement_settings import SamRefinement
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.toybox import CLASS_NAMES, Demand
from tests.benchmarks import mask_methods as methods
from tests.benchmarks.bench_masks import touch
from tests.benchmarks.harness import run
from tests.benchmarks.mask_methods import Shown

PARTS = ("masks", "prompts", "instances")

PROMPTS = {
    "points": {"negatives": 0, "box": False, "mask": False, "rounds": 1},
    "negatives": {"box": False, "mask": False, "rounds": 1},
    "box": {"mask": False, "rounds": 1},
    "mask": {"rounds": 1},
    "erase": {},
}
"""What a prompt has; each row adds one part to the row before. Objects that deny their heat are left to DenseCRF in all."""


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    count = 6 if quick else 100
    recipe = prepare(Recipe.of(classes=CLASS_NAMES, refinement={"kind": "sam", "model": _segmenter()}))
    model = load_model("toybox", device="cpu")
    assert isinstance(model, Observer)
    shown = _Scenes(model, recipe, count)
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "masks": lambda: _masks(shown),
        "prompts": lambda: _prompts(shown),
        "instances": lambda: _instances(shown),
    }
    figures: dict[str, float] = {"scenes": float(count)}
    with single_thread():
        for part in chosen:
            figures |= parts[part]()
    return figures


def _segmenter() -> str:
    model = os.environ.get("SEGMENTER", "")
    if not model:
        raise SystemExit(
            "name a promptable segmenter: make bench-opinions SEGMENTER=FOLDER_OR_ID "
            "(python -m examples.small_model.promptable trains a small one)"
        )
    return model


class _Scenes:
    """Scenes of the drawn world and what the shipped model attends to in them, each shown once."""

    def __init__(self, model: Observer, recipe: Recipe, count: int) -> None:
        self.recipe, self.count, self._model = recipe, count, model
        self._seen: dict[str, list[Shown]] = {}

    def of(self, name: str, demand: Callable[[int], Demand]) -> list[Shown]:
        """Those of a name, of which ``demand`` says what scene k holds."""
        if name not in self._seen:
            numbers = range(self.count)
            self._seen[name] = [methods.show(self._model, k, demand=demand(k), recipe=self.recipe) for k in numbers]
        return self._seen[name]

    def by_objects(self) -> dict[str, list[Shown]]:
        """Scenes with one object, and with several of different classes."""
        one = self.of("single", lambda _: Demand(count=1))
        return {"single": one, "multi": self.of("multi", methods.different_classes)}

    def iou(self, shown: Sequence[Shown], refinement: SamRefinement | str) -> float:
        """Mean IoU of the masks after a refinement."""
        settings = MaskSettings.subset_of(self.recipe).model_copy(update={"refinement": refinement})
        heats = [methods.our_heat(item, self.recipe) for item in shown]
        return methods.mean_iou(shown, lambda k, s: methods.through_pipeline(s, heats[k], settings).semantic)


def _masks(scenes: _Scenes) -> dict[str, float]:
    """Mean IoU of DenseCRF, of the segmenter, and of the segmenter where no object is left to DenseCRF."""
    sam = scenes.recipe.refinement
    assert isinstance(sam, SamRefinement)
    alone = sam.model_copy(update={"min_agreement": 0.0})
    figures = {}
    for name, shown in scenes.by_objects().items():
        for method, refinement in (("densecrf", "densecrf"), ("sam", sam), ("sam_alone", alone)):
            figures[f"iou_{method}_{name}"] = scenes.iou(shown, refinement)
    return figures


def _prompts(scenes: _Scenes) -> dict[str, float]:
    """Mean IoU of each way to prompt."""
    sam = scenes.recipe.refinement
    assert isinstance(sam, SamRefinement)
    return {
        f"iou_prompt_{way}_{name}": scenes.iou(shown, sam.model_copy(update=changes))
        for name, shown in scenes.by_objects().items()
        for way, changes in PROMPTS.items()
    }


def _instances(scenes: _Scenes) -> dict[str, float]:
    """Scenes of two or three objects of one class: the share whose number is right, with necks and with the segmenter."""
    right: dict[str, list[bool]] = {}
    for item in scenes.of("alike", _alike):
        visible = np.unique(item.scene.instances[item.scene.instances > 0])
        kind = "touching" if touch(item.scene.instances) else "apart"
        heat = methods.our_heat(item, scenes.recipe)
        for method, refinement in (("densecrf", "densecrf"), ("sam", scenes.recipe.refinement)):
            settings = MaskSettings.subset_of(scenes.recipe).model_copy(update={"refinement": refinement})
            found = methods.through_pipeline(item, heat, settings).objects
            right.setdefault(f"{kind}_right_{method}", []).append(len(found) == len(visible))
    return {name: float(np.mean(hits)) for name, hits in right.items()}


def _alike(seed: int) -> Demand:
    rng = np.random.default_rng([9, seed])
    return Demand(classes=[str(rng.choice(CLASS_NAMES))] * int(rng.integers(2, 4)))


if __name__ == "__main__":
    run("opinions", measure, parts=PARTS, keeps=True)
