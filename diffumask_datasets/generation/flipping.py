"""Whether the masks of a sample stay when its image is mirrored and labelled anew (as S3OD asks of its samples)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import image_of, label_of
from diffumask_datasets.errors import CaptureError, ModelError
from diffumask_datasets.generation.heat_maps import heat_maps_of
from diffumask_datasets.generation.masks import label_image
from diffumask_datasets.generation.observing import (
    load_observer,
    prompt_naming,
    read_attention,
    show_image,
    shown_timesteps,
)
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.phrases import attended
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["flip_judge", "mirrored_iou"]

Label = npt.NDArray[np.uint8]


def flip_judge(
    dataset: str | Path, *, trust_recipe: bool = False, device: str | None = None
) -> Callable[[Mapping[str, Any]], dict[int, float]]:
    """What gives :func:`mirrored_iou` of the rows of a dataset, by the model that its recipe names.

    Args:
        dataset: A folder, a URL or a Hub id.
        trust_recipe: Follow the local models and files that the recipe names.
        device: torch's name of the device, None for the best there is.

    Returns:
        A function of a row.

    Raises:
        RecipeError: the recipe names what only the user may ask for.
        ModelError: the model cannot be found, or has other content than the recipe says.
        ExportError: it is no dataset with a recipe.
    """
    source = open_dataset(dataset)
    if not trust_recipe:
        source.check_trust()
    return functools.partial(mirrored_iou, recipe=prepare(source.recipe, splits=()), device=device)


def mirrored_iou(row: Mapping[str, Any], recipe: Recipe, *, device: str | None = None) -> dict[int, float]:
    """Labels the mirrored image of a row as ``diffumask label`` does, and compares.

    Args:
        row: A row of the config ``default``.
        recipe: The prepared recipe of its dataset.
        device: torch's name of the device, None for the best there is.

    Returns:
        Class id → IoU of its mask and the mirrored mask of the mirrored image, for the classes of the label. Pixels that
        either leaves unsure do not count. 0 for all where the attention of the mirrored image has no signal.

    Raises:
        ModelError: the model cannot be loaded, or cannot be shown an image.
    """
    label = label_of(row)
    classes = sorted({int(value) for value in np.unique(label)} - {BACKGROUND, IGNORE})
    mirrored = _labelled(np.ascontiguousarray(image_of(row)[:, ::-1]), row, classes, recipe, device)
    if mirrored is None:
        return dict.fromkeys(classes, 0.0)
    back = mirrored[:, ::-1]
    known = (label != IGNORE) & (back != IGNORE)
    return {class_id: iou((label == class_id) & known, (back == class_id) & known) for class_id in classes}


def _labelled(
    image: Label, row: Mapping[str, Any], classes: Sequence[int], recipe: Recipe, device: str | None
) -> Label | None:
    """The semantic mask of an image; None where its attention has no signal."""
    prompt = _prompt(row["prompt"], [recipe.classes[class_id - 1] for class_id in classes], recipe)
    height, width, _ = image.shape
    with model_lock, single_thread():
        observer = load_observer(recipe, device, None)
        timesteps = shown_timesteps(recipe)
        seen = show_image(observer, image, prompt, recipe=recipe, timesteps=timesteps, seed=int(row["seed"]))
        try:
            heat = heat_maps_of(read_attention(seen, recipe), recipe, height=height, width=width)
            return label_image(
                image,
                heat,
                recipe=recipe,
                sample_id=row["sample_id"],
                prompted=tuple(recipe.classes.index(name) + 1 for name in prompt.categories),
                prompt=prompt.text,
                seed=int(row["seed"]),
            ).label
        except (CaptureError, ModelError):
            return None


def _prompt(text: str, names: Sequence[str], recipe: Recipe) -> Prompt:
    """The prompt of a row where it names its classes; else a template that names them."""
    terms = find_terms(text, recipe.words)
    if {term.category for term in terms} >= {*names}:
        return attended(Prompt(text, terms), recipe.attention_words)
    return prompt_naming(names, recipe)
