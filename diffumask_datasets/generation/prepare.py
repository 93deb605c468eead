"""Prepares a recipe for generation: resolves what it leaves open and pins all that it refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from diffumask_datasets.diffusion.options import resolve_checkpoint, resolve_lora
from diffumask_datasets.diffusion.registry import known_classes, resolve_revision
from diffumask_datasets.errors import ModelError
from diffumask_datasets.prompts.sources import check_prompts, pin_prompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import check_known

__all__ = ["pin_affinity_net", "prepare"]


def prepare(recipe: Recipe, splits: Sequence[str] = ("train",)) -> Recipe:
    """Pins the model, the prompts and every file of a recipe to their current content.

    Only the digest of a prepared recipe names samples.

    Raises:
        UnknownClassError: the model knows a closed list of classes and one is not on it.
        TokenAlignmentError: a prompt that names none of the classes.
        RecipeError: captions that cannot be read, or that name a class nowhere in one of ``splits``.
        ModelError: the model, or a text model of the prompts, cannot be found.
    """
    known = known_classes(recipe.model)
    if known is not None:
        check_known(
            [term for name in recipe.classes for term in recipe.words_of(name).terms], known, model=recipe.model
        )
    recipe = pin_prompts(recipe)
    check_prompts(recipe, splits)
    pinned = {
        "revision": resolve_revision(recipe.model, recipe.revision),
        "affinity_net_revision": pin_affinity_net(recipe.affinity_net, recipe.affinity_net_revision),
        "checkpoint_revision": resolve_checkpoint(recipe.checkpoint, recipe.checkpoint_revision),
        "lora_revision": resolve_lora(recipe.lora, recipe.lora_revision),
    }
    return recipe.model_copy(update=pinned)


def pin_affinity_net(path: str | None, revision: str | None) -> str | None:
    """Gives the fingerprint of an affinity net's file, None where the recipe has none.

    Raises:
        ModelError: the file is missing, or not the one that ``revision`` names.
    """
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no affinity net {path}; make one with diffumask train-affinity")
    present = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    if revision not in (None, present):
        raise ModelError(f"the affinity net {path} has content {present!r}, not {revision!r} that is asked for")
    return present
