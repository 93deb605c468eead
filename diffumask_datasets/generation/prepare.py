"""Prepares a recipe for generation: resolves what it leaves open and pins all that it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.masks.image_text import check_image_text
from diffumask_datasets.masks.pipeline import check_mask_settings
from diffumask_datasets.prompts.sources import check_prompts
from diffumask_datasets.recipes.augment_settings import with_known
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import COVERED, MaskSettings
from diffumask_datasets.sample import check_known
from diffumask_datasets.toybox.world import CLASS_NAMES, RECIPE_DEFAULTS

__all__ = ["prepare"]


def prepare(recipe: Recipe, splits: Sequence[str] = ("train",), *, generates: bool = True) -> Recipe:
    """Pins the model, the prompts, the backgrounds and all files of a recipe, and fills in what suits its model.

    Only the digest of a prepared recipe names samples.

    Args:
        recipe: What was asked for.
        splits: The splits whose prompts are checked.
        generates: Whether the model is asked about the classes at all, which it may not know.

    Returns:
        The prepared recipe.

    Raises:
        UnknownClassError: the model knows a closed list of classes and one is not on it.
        TokenAlignmentError: a prompt that names none of the classes.
        RecipeError: captions that cannot be read, or that name a class nowhere in one of ``splits``; backgrounds that are
            none, have changed, or name a class; or a model that does not say which size, steps or guidance suit it.
        ModelError: the model, or another that the recipe names, cannot be found or is none of its kind.
    """
    if recipe.model == "toybox" and generates:
        terms = [term for name in recipe.classes for term in recipe.words_of(name).terms]
        check_known(terms, CLASS_NAMES, model=recipe.model)
    recipe = recipe.pinned()
    steps = with_known(recipe.augment, co_occurrence=recipe.co_occurrence, stuff=recipe.stuff)
    recipe = recipe.model_copy(update={"augment": pin_backgrounds(steps, recipe.words)})
    recipe = recipe.completed(_defaults(recipe))
    check_prompts(recipe, splits)
    check_mask_settings(MaskSettings.subset_of(recipe))
    if recipe.presence is not None:
        check_image_text(recipe.presence, recipe.presence_revision)
    return recipe


def _defaults(recipe: Recipe) -> Mapping[str, Any]:
    covered = COVERED if recipe.background is None else {}
    if recipe.model == "toybox":
        return {**RECIPE_DEFAULTS, **covered}
    from diffumask_datasets.diffusion.defaults import model_defaults  # imports torch, as the pages of families do

    return {**model_defaults(recipe), **covered}
