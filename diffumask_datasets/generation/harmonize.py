"""``diffumask harmonize``: the diffusion model paints over composed images, so that pasted objects fit into their scene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.rewrite import rewrite
from diffumask_datasets.dataset.schema import Row, image_of, objects_of, png_cell
from diffumask_datasets.dataset.storage import parse_location, same_location
from diffumask_datasets.dataset.writer import check_target
from diffumask_datasets.diffusion.protocol import GenerationRequest, Repainter
from diffumask_datasets.errors import ExportError, ModelError, RecipeError
from diffumask_datasets.generation.heat_maps import heat_maps_of
from diffumask_datasets.generation.model import load_recipe_model
from diffumask_datasets.generation.observing import prompt_naming
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.masks.quality import separation
from diffumask_datasets.masks.quantization import dequantize
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.recipes.file import AUGMENTED
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["MIN_AGREEMENT", "STRENGTH", "Harmonized", "harmonize"]

STRENGTH, MIN_AGREEMENT = 0.2, 0.7

Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Harmonized:
    """How many images were painted over, and how many stayed as they were because an object was no longer seen."""

    painted: int = 0
    refused: int = 0

    def __str__(self) -> str:
        """``37 painted over; 3 stayed as they were, as …``."""
        refused = f"; {self.refused} stayed as they were, as the heat maps no longer agreed with the masks"
        return f"{self.painted} painted over{refused if self.refused else ''}"


@dataclass(frozen=True, slots=True)
class _Plan:
    strength: float
    min_agreement: float
    seed: int

    def __post_init__(self) -> None:
        for name, value in (("strength", self.strength), ("min_agreement", self.min_agreement)):
            if not 0 < value <= 1:
                raise RecipeError(f"{name}: expected a number above 0 and up to 1, got {value:g}")

    def described(self, ids: Sequence[str], before: Any) -> dict[str, Any]:
        """What the recipe file says of it, with the digest that the new sample ids begin with."""
        how = {"strength": self.strength, "min_agreement": self.min_agreement, "seed": self.seed}
        digest = hashlib.sha256(json.dumps([list(ids), how], sort_keys=True).encode()).hexdigest()[:12]
        return {**(before or {}), "digest": digest, "harmonized": how}


def harmonize(
    dataset: str | Path,
    output: str | Path,
    *,
    strength: float = STRENGTH,
    min_agreement: float = MIN_AGREEMENT,
    seed: int = 0,
    trust_recipe: bool = False,
    device: str | None = None,
) -> Harmonized:
    """Has the model of a dataset paint over its images, which compositions need most, and keeps their masks.

    Each image is noised and generated from there; all objects must then be where they were: within each, the model attends
    to its class more than elsewhere. An image of which that is not true stays as it was.

    Args:
        dataset: A folder, a URL or a Hub dataset ``owner/name``, as ``diffumask augment`` writes it.
        output: A folder or a URL.
        strength: The share of the model's steps that is taken again, in (0, 1]: more changes more.
        min_agreement: The least probability that a pixel of an object attends to its class more than a pixel of none.
        seed: Another seed paints otherwise.
        trust_recipe: Follow the local model that the recipe names.
        device: torch's name of the device, None for the best there is.

    Returns:
        How many images were painted over.

    Raises:
        RecipeError: a strength that is none, a size that the model does not take, or a recipe that only the user may follow.
        ModelError: the model cannot be loaded, or cannot paint over an image.
        ExportError: ``dataset`` is none, or ``output`` holds something that is not ours.
    """
    target, plan, source = parse_location(output), _Plan(strength, min_agreement, seed), open_dataset(dataset)
    if same_location(source.location, target):
        raise ExportError(f"{output} is the source itself: choose another --output")
    if not trust_recipe:
        source.check_trust()
    recipe = prepare(source.recipe, splits=())
    check_target(target)
    described = plan.described(list(source.split_of_ids()), source.history.get(AUGMENTED))
    done = Harmonized()
    with tqdm(total=source.total, unit="image", disable=None) as progress:

        def rows(split: str) -> Iterator[Row]:
            for row in source.split_rows(split):
                number = row["sample_id"].rpartition("-")[2]
                yield {**_painted(row, recipe, plan, done, device), "sample_id": f"{described['digest']}-{number}"}
                progress.update()

        history = {**source.history, AUGMENTED: described}
        rewrite(source, target, {split: rows(split) for split in source.counts}, history=history, keeps_ids=False)
    return done


def _painted(row: Row, recipe: Recipe, plan: _Plan, done: Harmonized, device: str | None) -> Row:
    """The row with its image painted over, or as it was where an object is no longer seen in its place."""
    names = [recipe.classes[category - 1] for category in row["classes"]]
    if not names:
        return row
    image, prompt = image_of(row), prompt_naming(names, recipe)
    noise = hashlib.sha256(f"{plan.seed}/harmonize/{row['sample_id']}".encode()).digest()
    request = GenerationRequest(prompt, seed=int.from_bytes(noise[:8], "big") >> 1)
    with model_lock, single_thread():
        painted = _repainter(recipe, device).repaint(image, request, recipe, strength=plan.strength)
    try:
        height, width = image.shape[:2]
        soft = heat_maps_of(painted.attention, recipe, height=height, width=width).kept
    except ModelError:  # no signal: the objects are not seen
        done.refused += 1
        return row
    heat = dict(zip(painted.attention.categories, dequantize(soft, height=height, width=width), strict=True))
    by_id = {recipe.classes.index(name) + 1: own for name, own in heat.items()}
    if min(_agreements(row, by_id), default=1.0) < plan.min_agreement:
        done.refused += 1
        return row
    done.painted += 1
    return {**row, "image": png_cell(painted.image)}


def _agreements(row: Row, heat: dict[int, npt.NDArray[np.float32]]) -> list[float]:
    """For each object, how far the heat of its class tells its pixels from those that show none of the class."""
    masks = [(one.category, decode(one.segmentation, next(iter(heat.values())).shape)) for one in objects_of(row)]
    shown = {own: np.any([mask for category, mask in masks if category == own], axis=0) for own in heat}
    return [separation(heat[category], inside=mask, outside=~shown[category]) for category, mask in masks]


def _repainter(recipe: Recipe, device: str | None) -> Repainter:
    model = load_recipe_model(recipe, device, None)
    if not isinstance(model, Repainter):
        raise ModelError(
            f"the model {recipe.model!r} cannot paint over an image; take a diffusion model whose pipeline has an "
            "image-to-image form (docs/guides/dense.md)"
        )
    return model
