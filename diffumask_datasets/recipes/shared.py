"""The only reader of ``recipe.yaml`` of a dataset, be it a folder or on the Hub: read as the data of a stranger.

Nothing that a recipe names is opened here. Who follows a recipe, by painting or by loading a file that it names, goes
through :func:`with_shared_recipe` or calls :meth:`StoredRecipe.check_trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.recipes.bounded_text import MOST_BYTES, read_bounded
from diffumask_datasets.recipes.file import RECIPE_FILE, origin
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import EXTENT, SplitPlan
from diffumask_datasets.recipes.trust import check_shape, check_size, check_trust, is_hub_id
from diffumask_datasets.recipes.yaml_reader import parse_yaml

__all__ = ["StoredRecipe", "is_hub_id", "read_shared_recipe", "stored_recipe", "with_shared_recipe"]


_MAY_BE_NONE = ("refinement", "heat_normalization")
"""Fields in which the user's None is a choice of its own."""


@dataclass(frozen=True)
class StoredRecipe:
    """The recipe of a dataset folder; ``fields`` are those of its ``recipe.yaml``, checked."""

    folder: Path
    fields: Mapping[str, Any]

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return Recipe.within(self.fields)

    @property
    def shown(self) -> dict[str, Any]:
        """Which of the optional columns the dataset has, as ``write_folder`` takes them."""
        return {name: bool(self.fields.get(name)) for name in ("keep_heat_maps", "keep_threshold_curve")}

    @property
    def history(self) -> dict[str, Any]:
        """What else its samples went through, which stays with them."""
        return origin(self.fields)

    def check_trust(self, *followed: str) -> None:
        """Refuses a local file in one of the fields ``followed``, which the user can give anew.

        Raises:
            RecipeError: Only the user may ask for that.
        """
        fields = {name: value for name, value in self.fields.items() if name in followed}
        check_trust(f"the recipe of {str(self.folder)!r}", fields, nameable=True)


def stored_recipe(dataset: Path, *, needs_heat_maps: bool = False) -> StoredRecipe:
    """The recipe of a dataset folder.

    Raises:
        ExportError: No dataset folder of ours, or one without the heat maps that are needed.
        RecipeError: Its recipe is not legal.
    """
    if not (dataset / RECIPE_FILE).is_file():
        raise ExportError(f"{dataset} is no dataset folder: expected {RECIPE_FILE}, as diffumask generate writes it")
    stored = StoredRecipe(dataset, read_shared_recipe(dataset))
    if needs_heat_maps and not stored.shown["keep_heat_maps"]:
        raise ExportError(f"{dataset} kept no heat maps: generate with --keep-heat-maps (finished samples are reused)")
    return stored


def with_shared_recipe(source: str | Path, given: Mapping[str, Any], *, trust: bool = False) -> dict[str, Any]:
    """The fields of the recipe at ``source``, over which those that the user has ``given`` win; None is not given.

    Args:
        source: A Hub dataset ``owner/name``, a folder, or a ``recipe.yaml``.
        given: The user's own fields.
        trust: Follow the local models and files, and the pickled weights, that the recipe names.

    Raises:
        RecipeError: The recipe is not legal, describes images that were not generated, or asks for what a stranger's
            recipe may not.
        HubError: The Hub has no such dataset, refuses it, or cannot be reached.
    """
    where = f"the recipe of {str(source)!r}"
    own = {name: value for name, value in given.items() if value is not None or name in _MAY_BE_NONE}
    fields = read_shared_recipe(source)
    _check_generated(where, fields)
    fields.pop("digest", None)
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
    """The fields of the ``recipe.yaml`` of a Hub dataset ``owner/name``, a folder, or of the file itself; validated.

    Raises:
        RecipeError: Not plain YAML, unknown fields, illegal values, a path where a name belongs.
        HubError: The Hub has no such dataset, refuses it, or cannot be reached.
    """
    path = _fetched(str(source)) if is_hub_id(source) else _local(Path(source).expanduser())
    where = f"the recipe of {str(source)!r}"
    fields = parse_yaml(_text(source, path), where=where, error=RecipeError)
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


def _local(path: Path) -> Path:
    return path / RECIPE_FILE if path.is_dir() else path


def _fetched(repo_id: str) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    from diffumask_datasets.recipes.hub_errors import readable_errors

    with readable_errors(repo_id):
        try:
            size = get_hf_file_metadata(hf_hub_url(repo_id, RECIPE_FILE, repo_type="dataset")).size or 0
            if size > MOST_BYTES:
                raise RecipeError(f"{RECIPE_FILE} of {repo_id!r} has {size} bytes; a recipe has {MOST_BYTES} at most")
            return Path(hf_hub_download(repo_id, RECIPE_FILE, repo_type="dataset"))
        except hub.RemoteEntryNotFoundError as error:
            raise RecipeError(f"the dataset {repo_id!r} has no {RECIPE_FILE}, so it cannot be made again") from error


def _text(source: str | Path, path: Path) -> str:
    if not path.exists():
        raise RecipeError(f"no recipe at {str(source)!r}: give a folder with {RECIPE_FILE} or a Hub id")
    return read_bounded(path, what="the recipe", error=RecipeError)
