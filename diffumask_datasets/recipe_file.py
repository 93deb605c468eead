"""``recipe.yaml``: a recipe and how much of it is wanted, as a file that people read and ``--config`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipe import Recipe

__all__ = ["AUGMENTED", "LABELLED", "RECIPE_FILE", "origin", "read_mapping", "read_recipe_file", "recipe_text"]

_DERIVED = ("digest",)
"""Written for the reader; computed anew when read."""

RECIPE_FILE = "recipe.yaml"
"""The name of a recipe file in a dataset folder."""

AUGMENTED = "augmented"
"""What ``diffumask augment`` did to the samples of the recipe; such a dataset cannot be generated from the file alone."""

LABELLED = "labelled"
"""What ``diffumask label`` was given; the images are the user's, so such a dataset cannot be generated from the file."""

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
    """The file's text: every field, defaults included, so that a later default cannot change what it means.

    ``extra`` is written as it stands, last.
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
    """Of a recipe file's fields those that say that its samples were not simply generated: they stay with the samples."""
    return {name: fields[name] for name in (AUGMENTED, LABELLED) if name in fields}


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The fields of a recipe file, not yet validated.

    Raises:
        RecipeError: the file is missing, no YAML, or not a mapping.
    """
    fields = read_mapping(path, example="classes: [car, boat]")
    return {name: value for name, value in fields.items() if name not in _DERIVED}


def read_mapping(path: Path, *, example: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; ``example`` shows the reader of an error what was expected.

    Raises:
        RecipeError: the file is missing, no YAML, or not a mapping.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise RecipeError(f"{path}: expected fields like '{example}', got {type(fields).__name__}")
    return fields
