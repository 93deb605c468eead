"""Recipes that travel: ``recipe.yaml`` of a folder or of a dataset on the Hub, read as the data of a stranger.

It can name classes, prompts, settings and what lies on the Hub. It cannot name code, weights that are code, a path or a size
that would fill a disk: whatever of that is wanted is said by the user, in a keyword or an option beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.plan import EXTENT, SplitPlan
from diffumask_datasets.recipe import Recipe, check_fields
from diffumask_datasets.recipe_file import RECIPE_FILE
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["is_hub_id", "read_shared_recipe", "with_shared_recipe"]

MOST_BYTES = 8 * 2**20
MOST_SAMPLES = 100_000

BUILT_IN_MODELS = ("toybox", "planted")

_NAMES = ("classes", "model", "revision", "variant", "scheduler", "lora", "lora_revision", "affinity_net_revision")
"""Fields in which no path may stand."""

_PINS = {
    "model": "revision",
    "checkpoint": "checkpoint_revision",
    "lora": "lora_revision",
    "affinity_net": "affinity_net_revision",
}
"""Field → the field that pins its content, which says nothing of another one."""

_PLACES_IN_SOURCE = ("path", "model", "encoder")
"""Keys of prompt_source that say where captions or a text model lie."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C where it is there: the other takes minutes over a few megabytes."""

_VOCABULARY = re.compile(r"[\w:, -]+")

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REVISION = re.compile(r"[\w-][\w.-]*")


def is_hub_id(source: str | Path) -> bool:
    """Whether ``source`` can only be a dataset on the Hub, ``owner/name``: no such file or folder is here."""
    return isinstance(source, str) and bool(_HUB_ID.fullmatch(source)) and not Path(source).exists()


def with_shared_recipe(source: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the recipe at ``source``, over which the fields ``given`` by the user win; None is not given.

    Raises:
        RecipeError: the recipe is none, asks for what a stranger's recipe may not, or cannot be read.
        HubError: the Hub has no such dataset, refuses it, or cannot be reached.
    """
    own = {
        name: value
        for name, value in given.items()
        if value is not None or name in ("refinement", "heat_normalization")
    }
    fields = read_shared_recipe(source)
    fields.pop("digest", None)
    for name, pin in _PINS.items():
        if name in own:
            fields.pop(pin, None)
    if "num_samples" in own or "splits" in own:
        for name in ("num_samples", "splits"):
            fields.pop(name, None)
    merged = {**fields, **own}
    _check_trust(source, {name: value for name, value in fields.items() if name not in own})
    if "num_samples" not in own and "splits" not in own:
        _check_size(source, fields)
    return {**dict.fromkeys(EXTENT), **merged}


def read_shared_recipe(source: str | Path) -> dict[str, Any]:
    """The fields of the ``recipe.yaml`` of a Hub dataset ``owner/name``, a folder, or of the file itself; validated.

    Raises:
        RecipeError: not plain YAML, unknown fields, illegal values, a path where a name belongs.
        HubError: the Hub has no such dataset, refuses it, or cannot be reached.
    """
    path = _fetched(str(source)) if is_hub_id(source) else _local(Path(source).expanduser())
    fields = _parsed(source, _text(source, path))
    check_fields(fields, [*Recipe.model_fields, *EXTENT, "digest"])
    _check_strings(source, fields)
    _check_classes(source, fields)
    SplitPlan.of(num_samples=fields.get("num_samples"), splits=_splits(source, fields), skip=fields.get("skip"))
    Recipe.within(fields)
    return fields


def _local(path: Path) -> Path:
    return path / RECIPE_FILE if path.is_dir() else path


def _fetched(repo_id: str) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    from diffumask_datasets.connection import readable_errors

    with readable_errors(repo_id):
        try:
            size = get_hf_file_metadata(hf_hub_url(repo_id, RECIPE_FILE, repo_type="dataset")).size or 0
            if size > MOST_BYTES:
                raise RecipeError(f"{RECIPE_FILE} of {repo_id!r} has {size} bytes; a recipe has {MOST_BYTES} at most")
            return Path(hf_hub_download(repo_id, RECIPE_FILE, repo_type="dataset"))
        except hub.RemoteEntryNotFoundError as error:
            raise RecipeError(f"the dataset {repo_id!r} has no {RECIPE_FILE}, so it cannot be made again") from error


def _text(source: str | Path, path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RecipeError(f"{path} is too large for a recipe: {MOST_BYTES} bytes at most")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe at {str(source)!r}: give a folder with {RECIPE_FILE} or a Hub id") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {' '.join(str(error).split())}") from error


def _parsed(source: str | Path, text: str) -> dict[str, Any]:
    try:
        # A few aliases of aliases can stand for more text than memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
            raise RecipeError(f"the recipe of {str(source)!r} has YAML aliases (*name); write the values out")
        fields = yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"the recipe of {str(source)!r} is not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise RecipeError(f"the recipe of {str(source)!r}: expected fields like 'classes: [car, boat]'")
    return fields


def _splits(source: str | Path, fields: Mapping[str, Any]) -> dict[str, int] | None:
    splits = fields.get("splits")
    if splits is not None and not isinstance(splits, dict):
        raise RecipeError(f"the recipe of {str(source)!r}: splits: expected sizes like 'train: 80', got {splits!r}")
    return splits


def _check_strings(source: str | Path, fields: Mapping[str, Any]) -> None:
    for name in _NAMES:
        cell = fields.get(name)
        for text in cell if isinstance(cell, list) else [cell]:
            if isinstance(text, str) and (".." in text or "\\" in text or not text.isprintable()):
                raise RecipeError(f"the recipe of {str(source)!r}: {name}: {text!r} is a path, not a name")
    revision = fields.get("revision")
    if isinstance(revision, str) and not _REVISION.fullmatch(revision):
        raise RecipeError(f"the recipe of {str(source)!r}: revision: {revision!r} is no commit, tag or branch")


def _check_classes(source: str | Path, fields: Mapping[str, Any]) -> None:
    """Refuses what would be read from a file while the recipe is looked at, and more classes than there can be."""
    classes, pairs = fields.get("classes"), fields.get("co_occurrence")
    for name in ("classes", "vocabulary"):
        entries = fields.get(name)
        if isinstance(entries, list | dict) and len(entries) > MAX_CLASS_ID:
            raise RecipeError(
                f"the recipe of {str(source)!r}: {name}: {len(entries)} classes; an 8-bit mask holds {MAX_CLASS_ID} at most"
            )
    if isinstance(classes, str) and not _VOCABULARY.fullmatch(classes):
        raise RecipeError(f"the recipe of {str(source)!r}: classes: {classes!r} is a path, not a name")
    place = pairs.get("path") if isinstance(pairs, dict) else pairs
    if isinstance(place, str):
        raise RecipeError(f"the recipe of {str(source)!r}: co_occurrence: {place!r} is a path, which is not followed")


def _check_trust(source: str | Path, fields: Mapping[str, Any]) -> None:
    """Refuses what only the user may ask for; ``fields`` are those of the recipe that the user has not given anew."""
    prompts = fields.get("prompt_source")
    places = {name: fields[name] for name in _PINS if fields.get(name) not in (None, *BUILT_IN_MODELS)}
    if isinstance(prompts, Mapping):
        places |= {f"prompt_source {key}": prompts[key] for key in _PLACES_IN_SOURCE if prompts.get(key) is not None}
    for name, place in places.items():
        if not is_hub_id(place):
            field = name.partition(" ")[0]
            how = "--model" if field == "model" else f"--set {field}=…"
            raise RecipeError(
                f"the recipe of {str(source)!r} names the local {name} {place!r}, which is not followed: "
                f"if you trust it, name it yourself with {field}=… ({how})"
            )
    if fields.get("pickle_weights") not in (None, False):
        raise RecipeError(
            f"the recipe of {str(source)!r} asks for pickled weights, which can run any code: "
            "if you trust the model, say pickle_weights=True yourself (--set pickle_weights=true)"
        )


def _check_size(source: str | Path, fields: Mapping[str, Any]) -> None:
    sizes = fields.get("splits") or {"train": fields.get("num_samples") or 0}
    if sum(sizes.values()) > MOST_SAMPLES:
        raise RecipeError(
            f"the recipe of {str(source)!r} asks for {sum(sizes.values())} samples; more than {MOST_SAMPLES} are only "
            "generated when you ask for them: num_samples=… (--num-samples)"
        )
