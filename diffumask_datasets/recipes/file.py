"""``recipe.yaml``: a recipe and how much of it is wanted, as a file that people read and ``--config`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.yaml_reader import read_yaml

__all__ = [
    "AUGMENTED",
    "BATCH_SIZE",
    "CURATED",
    "LABELLED",
    "RECIPE_FILE",
    "history_of",
    "origin",
    "read_mapping",
    "read_recipe_file",
    "recipe_text",
]

RECIPE_FILE = "recipe.yaml"
"""The name of a recipe file in a dataset folder."""

AUGMENTED = "augmented"
"""What ``diffumask augment`` did to the samples of the recipe; such a dataset cannot be generated from the file alone."""

LABELLED = "labelled"
"""What ``diffumask label`` was given; the images are the user's, so such a dataset cannot be generated from the file."""

CURATED = "curated"
"""What ``diffumask curate`` asked about the samples: filter → model, revision and limits. The recipe still gives them."""

_NOTES = ("digest", CURATED)
"""Written for the reader, and no part of what is asked for."""

BATCH_SIZE = "batch_size"
"""How many samples were generated at once, where that is more than one: their last bits depend on it. It is no part of the
recipe; whoever generates the same dataset on another machine need not follow it."""

WIDTH = 110


def recipe_text(
    recipe: Recipe,
    *,
    sizes: Mapping[str, int | None],
    keep_heat_maps: bool,
    keep_threshold_curve: bool = False,
    skip: Iterable[int] = (),
    **extra: Any,
) -> str:
    """Writes a recipe as YAML: every field, defaults included, so that a later default cannot change what it means.

    Args:
        recipe: The recipe.
        sizes: The size of each split.
        keep_heat_maps: Whether the dataset has the column ``heat_maps``.
        keep_threshold_curve: Whether it has the column ``threshold_curve``.
        skip: Indices that are left out.
        **extra: Further fields, last.

    Returns:
        The text.
    """
    dumped = recipe.model_dump(mode="json")
    first = {name: dumped[name] for name in ("classes", "model", "revision", "seed", "prompts")}
    shown = {"keep_heat_maps": keep_heat_maps, "keep_threshold_curve": keep_threshold_curve}
    fields = {**first, **dumped, "splits": dict(sizes), **shown, "digest": recipe.digest}
    if skipped := sorted(skip):
        fields["skip"] = skipped
    fields |= extra
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH)
    return text


def origin(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a recipe file's fields those that say that its samples were not simply generated."""
    return {name: fields[name] for name in (AUGMENTED, LABELLED) if name in fields}


def history_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a recipe file's fields those that say what its samples went through: they stay with the samples."""
    return origin(fields) | {name: fields[name] for name in (CURATED,) if name in fields}


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The fields of a recipe file, not yet validated.

    Raises:
        RecipeError: the file is missing, no YAML, or not a mapping.
    """
    fields = read_mapping(path, what="the recipe", example="classes: [car, boat]")
    return {name: value for name, value in fields.items() if name not in _NOTES}


def read_mapping(path: Path, *, what: str, example: str) -> dict[str, Any]:
    """Reads a mapping from a YAML file.

    Args:
        path: The file.
        what: What the file is, for messages.
        example: An example of its content, for messages.

    Returns:
        The mapping.

    Raises:
        RecipeError: The file cannot be read, is no plain YAML, or not a mapping from names.
    """
    fields = read_yaml(path, what=what, error=RecipeError)
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise RecipeError(f"{path}: expected fields like '{example}', got {type(fields).__name__}")
    return fields
