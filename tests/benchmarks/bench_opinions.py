"""Second opinions: a promptable segmenter against DenseCRF, and filters of curation. Run by ``make bench-opinions``.

``SEGMENTER`` names one, a folder or Hub id; without it that of ``tests/models/segmenter`` is asked, which never saw the ten
classes. PHOTOS names the folder of the photographs; IMAGE_TEXT the image-text model of the part ``presence``, by default that
of ``tests/models/contrastive``; GENERATED a dataset by ``diffumask generate`` of the ten classes, which it otherwise generates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from diffumask_datasets.curation.noise import EPOCHS
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
from tests.benchmarks.opinions_flip import flip_figures, joined_figures
from tests.benchmarks.opinions_photos import photo_figures
from tests.benchmarks.opinions_presence import presence_figures
from tests.helpers.small_models import SMALL_SEGMENTER

PARTS = ("masks", "prompts", "instances", "photos", "presence", "flip", "joined")

SCENES, SCENES_ALIKE = 50, 100

PROMPTS = {
    "points": {"negatives": 0, "box": False, "mask": False, "rounds": 1},
    "negatives": {"box": False, "mask": False, "rounds": 1},
    "box": {"mask": False, "rounds": 1},
    "mask": {"rounds": 1},
}
"""What a prompt has; each row adds one part to the row before, and ``sam_alone`` asks again for the rest. All answers are
believed."""


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    recipe = prepare(Recipe.of(classes=CLASS_NAMES, refinement={"kind": "sam", "model": _segmenter()}))
    model = load_model("toybox", device="cpu")
    assert isinstance(model, Observer)
    shown = _Scenes(model, recipe, quick=quick)
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "masks": lambda: _masks(shown),
        "prompts": lambda: _prompts(shown),
        "instances": lambda: _instances(shown),
        "photos": lambda: photo_figures(shown.methods, quick=quick),
        "presence": lambda: presence_figures(images=20 if quick else 500),
        "flip": lambda: flip_figures(scenes=20 if quick else 200),
        "joined": lambda: joined_figures(scenes=30 if quick else 200, epochs=2 if quick else EPOCHS),
    }
    figures: dict[str, float] = {}
    with single_thread():
        for part in chosen:
            figures |= parts[part]()
    return figures


def _segmenter() -> str:
    return os.environ.get("SEGMENTER", "").strip() or str(SMALL_SEGMENTER)


ALONE = {"min_agreement": 0.0, "min_steadiness": 0.0}
"""Whatever the segmenter says is believed."""


class _Scenes:
    """Scenes of the drawn world and what the shipped model attends to in them, each shown once."""

    def __init__(self, model: Observer, recipe: Recipe, *, quick: bool) -> None:
        self.recipe, self._quick, self._model = recipe, quick, model
        self._seen: dict[str, list[Shown]] = {}

    @property
    def methods(self) -> dict[str, SamRefinement]:
        """The segmenter as it ships, and believed whatever it says."""
        sam = self.recipe.refinement
        assert isinstance(sam, SamRefinement)
        return {"sam": sam, "sam_alone": sam.model_copy(update=ALONE)}

    def of(self, name: str, demand: Callable[[int], Demand], count: int) -> list[Shown]:
        """``count`` scenes of a name, of which ``demand`` says what scene k holds."""
        if name not in self._seen:
            numbers = range(6 if self._quick else count)
            self._seen[name] = [methods.show(self._model, k, demand=demand(k), recipe=self.recipe) for k in numbers]
        return self._seen[name]

    def by_objects(self) -> dict[str, list[Shown]]:
        """Scenes with one object, and with several of different classes."""
        one = self.of("single", lambda _: Demand(count=1), SCENES)
        return {"single": one, "multi": self.of("multi", methods.different_classes, SCENES)}

    def iou(self, shown: Sequence[Shown], refinement: SamRefinement | str) -> float:
        """Mean IoU of the masks after a refinement."""
        settings = MaskSettings.subset_of(self.recipe).model_copy(update={"refinement": refinement})
        heats = [methods.our_heat(item, self.recipe) for item in shown]
        return methods.mean_iou(shown, lambda k, s: methods.through_pipeline(s, heats[k], settings).semantic)


def _masks(scenes: _Scenes) -> dict[str, float]:
    """Mean IoU of DenseCRF, of the segmenter, and of the segmenter where all its answers are believed."""
    figures = {}
    for name, shown in scenes.by_objects().items():
        figures[f"scenes_{name}"] = float(len(shown))
        for method, refinement in {"densecrf": "densecrf", **scenes.methods}.items():
            figures[f"iou_{method}_{name}"] = scenes.iou(shown, refinement)
    return figures


def _prompts(scenes: _Scenes) -> dict[str, float]:
    """Mean IoU of each way to prompt."""
    alone = scenes.methods["sam_alone"]
    return {
        f"iou_prompt_{way}_{name}": scenes.iou(shown, alone.model_copy(update=changes))
        for name, shown in scenes.by_objects().items()
        for way, changes in PROMPTS.items()
    }


def _instances(scenes: _Scenes) -> dict[str, float]:
    """Scenes of two or three objects of one class: the share whose number is right, with necks and with the segmenter."""
    right: dict[str, list[bool]] = {}
    for item in scenes.of("alike", _alike, SCENES_ALIKE):
        visible = np.unique(item.scene.instances[item.scene.instances > 0])
        kind = "touching" if touch(item.scene.instances) else "apart"
        heat = methods.our_heat(item, scenes.recipe)
        for method, refinement in (("densecrf", "densecrf"), ("sam", scenes.recipe.refinement)):
            settings = MaskSettings.subset_of(scenes.recipe).model_copy(update={"refinement": refinement})
            found = methods.through_pipeline(item, heat, settings).objects
            right.setdefault(f"{kind}_right_{method}", []).append(len(found) == len(visible))
    counts = {f"scenes_{kind}": float(len(right.get(f"{kind}_right_sam", []))) for kind in ("apart", "touching")}
    return counts | {name: float(np.mean(hits)) for name, hits in right.items()}


def _alike(seed: int) -> Demand:
    rng = np.random.default_rng([9, seed])
    return Demand(classes=[str(rng.choice(CLASS_NAMES))] * int(rng.integers(2, 4)))


if __name__ == "__main__":
    run("opinions", measure, parts=PARTS, keeps=True)
