"""The part ``shown`` of bench_real: images with human masks, shown to the model, their classes given."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.attention.observation import Observation
from diffumask_datasets.attention.search import best_threshold_iou
from diffumask_datasets.dataset.contact_sheet import card_of, heat_tile, overlay
from diffumask_datasets.errors import ModelError, TokenAlignmentError
from diffumask_datasets.generation.heat_maps import HeatMaps, heat_maps_of, maps_for_masks
from diffumask_datasets.generation.masks import label_image
from diffumask_datasets.generation.observing import (
    load_observer,
    prompt_naming,
    read_attention,
    show_image,
    shown_timesteps,
)
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import IGNORE
from tests.benchmarks.real_data import RealImage
from tests.benchmarks.real_memory import peak_megabytes
from tests.benchmarks.real_records import Record, Records, key_of

METHODS: Mapping[str, Mapping[str, Any]] = {
    "auto": {},
    "equal": {"attention": "equal"},
    "otsu": {"threshold": "otsu"},
    "gamma_05": {"threshold": 0.5},
    "unrefined": {"refinement": None},
    "paper_crf": {"refinement": "densecrf-paper"},
}
"""Each is the defaults with these fields changed; ``auto`` is what a user of the model gets."""

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the model attended to in an image, and the masks that each method made; empty where it failed."""

    heats: dict[str, HeatMaps]
    labels: dict[str, Labels]
    errors: dict[str, str]


def method_recipes(recipe: Recipe, segmenter: str | None = None) -> dict[str, Recipe]:
    """The recipe of each method; ``sam`` is one where a promptable segmenter, a folder or Hub id, is given.

    Raises:
        ModelError: it cannot be found, or takes no prompts.
    """
    recipes = {name: Recipe(**{**dict(recipe), **changes}) for name, changes in METHODS.items()}
    if segmenter is not None:
        recipes["sam"] = prepare(Recipe(**{**dict(recipe), "refinement": {"kind": "sam", "model": segmenter}}))
    return recipes


def judged(real: RealImage, recipes: Mapping[str, Recipe], records: Records) -> tuple[Record, bool]:
    """The record of an image by the recipe of each method, and whether it was made now.

    Raises:
        ModelError: the model cannot be loaded or shown images at all.
    """
    recipe = recipes["auto"]
    digests = [one.digest for one in recipes.values()]
    content = hashlib.sha256(real.image.tobytes() + real.truth.tobytes()).hexdigest()
    key = key_of("shown", digests, shown_timesteps(recipe), real.name, content)
    known = records.get(key)
    if known is not None:
        return known, False
    started = time.monotonic()
    seen = _look(real, recipes)
    record = {
        "name": real.name,
        "kind": real.kind,
        "classes": [recipe.classes[class_id - 1] for class_id in real.shown],
        "heat": {name: _heat_ious(real, heat, recipe) for name, heat in seen.heats.items()},
        "counts": {name: overlaps(label, real.truth, (0, *real.shown)) for name, label in seen.labels.items()},
        "errors": seen.errors,
        "seconds": time.monotonic() - started,
        "megabytes": peak_megabytes(),
    }
    return records.put(key, record, _card(real, seen, record)), True


def overlaps(label: Labels, truth: Labels, ids: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(class id, pixels of both, pixels of either) of each; pixels that the truth ignores count nowhere."""
    known = truth != IGNORE
    pairs = [((label == i) & known, (truth == i) & known) for i in ids]
    return [
        (i, int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))) for i, (a, b) in zip(ids, pairs, strict=True)
    ]


def iou_of(record: Record, method: str) -> list[float]:
    """IoU of each class that an image shows."""
    return [both / either for class_id, both, either in record["counts"][method] if class_id and either]


def _look(real: RealImage, recipes: Mapping[str, Recipe]) -> _Seen:
    recipe = recipes["auto"]
    prompt = prompt_naming([recipe.classes[class_id - 1] for class_id in real.shown], recipe)
    observer = load_observer(recipe, None, None)
    heats: dict[str, HeatMaps] = {}
    errors: dict[str, str] = {}
    try:
        with model_lock, single_thread():
            seed = int(key_of(recipe.seed, real.name)[:12], 16)
            timesteps = shown_timesteps(recipe)
            seen = show_image(observer, real.image, prompt, recipe=recipe, timesteps=timesteps, seed=seed)
    except (ModelError, TokenAlignmentError) as error:
        return _Seen({}, {name: np.zeros_like(real.truth) for name in recipes}, dict.fromkeys(recipes, str(error)))
    for name in ("auto", "equal"):
        try:
            heats[name] = _heat(seen, recipes[name], real)
        except ModelError as error:
            errors[name] = str(error)
    labels = {name: _label(real, prompt, heats, one, name, errors) for name, one in recipes.items()}
    return _Seen(heats, labels, errors)


def _heat(seen: Observation, recipe: Recipe, real: RealImage) -> HeatMaps:
    height, width = real.truth.shape
    with single_thread():
        return heat_maps_of(read_attention(seen, recipe), recipe, height=height, width=width)


def _label(
    real: RealImage,
    prompt: Prompt,
    heats: Mapping[str, HeatMaps],
    recipe: Recipe,
    name: str,
    errors: dict[str, str],
) -> Labels:
    heat = heats.get("equal" if name == "equal" else "auto")
    nothing = np.zeros_like(real.truth)
    if heat is None:
        errors.setdefault(name, errors["equal" if name == "equal" else "auto"])
        return nothing
    try:
        return label_image(
            real.image,
            heat,
            recipe=recipe,
            sample_id=real.name,
            prompted=real.shown,
            prompt=prompt.text,
            seed=0,
        ).label
    except ModelError as error:
        errors[name] = str(error)
        return nothing


def _heat_ious(real: RealImage, heat_maps: HeatMaps, recipe: Recipe) -> list[float]:
    """IoU of the heat map of each class at its best threshold, at the size at which masks are made."""
    heat, _ = maps_for_masks(real.image, heat_maps, recipe)
    height, width = heat.shape[1:]
    truth = np.asarray(Image.fromarray(real.truth).resize((width, height), Image.Resampling.NEAREST))
    known = truth != IGNORE
    pairs = [(one[known], truth[known] == class_id) for one, class_id in zip(heat, real.shown, strict=True)]
    return [best_threshold_iou(one, there)[0] for one, there in pairs if there.any()]


def _card(real: RealImage, seen: _Seen, record: Record) -> Image.Image:
    tiles = [real.image, overlay(real.image, real.truth), overlay(real.image, seen.labels["auto"])]
    if "auto" in seen.heats:
        tiles.append(heat_tile(seen.heats["auto"].kept))
    iou = float(np.mean(iou_of(record, "auto") or [0.0]))
    return card_of(tiles, caption=f"{iou:.2f} · {', '.join(record['classes'])} · {real.name}")
