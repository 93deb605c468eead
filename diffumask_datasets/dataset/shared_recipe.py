"""The only reader of ``recipe.yaml`` of a dataset, wherever it is: read as the data of a stranger.

Nothing that a recipe names is opened here. Whoever follows a recipe, by generating or by loading a file that it names, goes
through :func:`with_shared_recipe` or calls :meth:`diffumask_datasets.dataset.reader.OpenDataset.check_trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.storage import access, dataset_location, join, read_file
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.file import BATCH_SIZE, CURATED, RECIPE_FILE, origin
from diffumask_datasets.recipes.recipe import MAY_BE_NONE, Recipe
from diffumask_datasets.recipes.splits import EXTENT, SplitPlan
from diffumask_datasets.recipes.trust import check_shape, check_size, check_trust
from diffumask_datasets.recipes.yaml_reader import parse_yaml

__all__ = ["parse_shared_recipe", "read_shared_recipe", "with_shared_recipe"]


def with_shared_recipe(source: str | Path, given: Mapping[str, Any], *, trust: bool = False) -> dict[str, Any]:
    """Reads a recipe that somebody shares.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, or a ``recipe.yaml``.
        given: The user's own fields, which win; None is not given.
        trust: Follow the local models and files, and the pickled weights, that the recipe names.

    Returns:
        Field → value.

    Raises:
        RecipeError: The recipe is not legal, describes images that were not generated, or asks for what a stranger's recipe
            may not.
        HubError: The Hub has no such dataset, refuses it, or cannot be reached.
    """
    where = f"the recipe of {str(source)!r}"
    own = {name: value for name, value in given.items() if value is not None or name in MAY_BE_NONE}
    fields = read_shared_recipe(source)
    _check_generated(where, fields)
    for name in ("digest", BATCH_SIZE, CURATED):  # what fits there need not fit here
        fields.pop(name, None)
    for pin in Recipe.PINS:
        if pin.name in own:
            fields.pop(pin.revision, None)
    if "num_samples" in own or "splits" in own:
        for name in ("num_samples", "splits"):
            fields.pop(name, None)
    if not trust:
        check_trust(where, {name: value for name, value in fields.items() if name not in own}, nameable=True)
    check_size(where, _plan(fields).sizes)
    return {**dict.fromkeys(EXTENT), **fields, **own}


def read_shared_recipe(source: str | Path) -> dict[str, Any]:
    """The validated fields of the ``recipe.yaml`` of a folder, a URL or a Hub dataset ``owner/name``, or of the file itself.

    Raises:
        RecipeError: There is none, or it is not legal; see :func:`parse_shared_recipe`.
        HubError: The Hub has no such dataset, refuses it, or cannot be reached.
    """
    location = dataset_location(source)
    with access(location):
        is_file = location.is_file() if isinstance(location, Path) else location.endswith(".yaml")
    data = read_file(location if is_file else join(location, RECIPE_FILE), what="the recipe", error=RecipeError)
    if data is None:
        raise RecipeError(
            f"no recipe at {str(source)!r}: give a dataset with {RECIPE_FILE}: a folder, a URL or a Hub id"
        )
    return parse_shared_recipe(data, where=f"the recipe of {str(source)!r}")


def parse_shared_recipe(data: bytes, *, where: str) -> dict[str, Any]:
    """The fields of a ``recipe.yaml``, validated; ``where`` begins the message of an error.

    Raises:
        RecipeError: Not plain YAML, unknown fields, illegal values, a path where a name belongs.
    """
    try:
        fields = parse_yaml(data.decode("utf-8-sig"), where=where, error=RecipeError)
    except UnicodeDecodeError as error:
        raise RecipeError(f"cannot read {where}: it is not UTF-8 text (byte {error.start})") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise RecipeError(f"{where}: expected fields like 'classes: [car, boat]'")
    check_shape(where, fields)
    Recipe.within(fields)
    return fields


def _plan(fields: Mapping[str, Any]) -> SplitPlan:
    return SplitPlan.of(num_samples=fields.get("num_samples"), splits=fields.get("splits"), skip=fields.get("skip"))


def _check_generated(where: str, fields: Mapping[str, Any]) -> None:
    for done in origin(fields):
        raise RecipeError(
            f"{where} describes a dataset that was {done} and cannot be made from its recipe: "
            "run diffumask augment or label on its source again"
        )
