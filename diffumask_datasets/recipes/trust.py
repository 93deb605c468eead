"""What the recipe of a stranger may say.

It can name classes, prompts, settings and what lies on the Hub. It cannot name code, weights that are code, a file of this
machine or a size that would fill a disk, unless the user asks for that beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import RecipeError, short_repr
from diffumask_datasets.models.reference import BUILT_IN_MODELS
from diffumask_datasets.recipes.base import check_fields
from diffumask_datasets.recipes.file import AUGMENTED, BATCH_SIZE, CURATED, LABELLED
from diffumask_datasets.recipes.prompt_settings import LanguageModelPrompts, RetrievalPrompts
from diffumask_datasets.recipes.recipe import FIELDS, Recipe
from diffumask_datasets.recipes.registry import PROMPT_SOURCES, REFINEMENTS, THRESHOLDS
from diffumask_datasets.recipes.splits import EXTENT
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["MOST_SAMPLES", "check_shape", "check_size", "check_trust", "is_hub_id"]

MOST_SAMPLES = 100_000
MOST_AT_ONCE = 1024

_NEVER_PATHS = ("classes", "variant", "scheduler", *(pin.revision for pin in Recipe.PINS))

_PLACES_IN_SOURCE = ("path", *(pin.name for pin in (*RetrievalPrompts.PINS, *LanguageModelPrompts.PINS)))
"""Keys of prompt_source that say where captions or a text model lie."""

_KINDS: Mapping[str, tuple[type, str]] = {
    "digest": (str, "twelve hex digits"),
    BATCH_SIZE: (int, f"a number from 1 to {MOST_AT_ONCE}"),
    "keep_heat_maps": (bool, "true or false"),
    "keep_threshold_curve": (bool, "true or false"),
    "num_samples": (int, "a number of samples"),
    "splits": (dict, "sizes like 'train: 80'"),
    "skip": (list, "a list of indices"),
    AUGMENTED: (dict, "fields with a digest"),
    LABELLED: (dict, "fields with a digest"),
    CURATED: (dict, "filters with their models"),
}
"""Fields beside the recipe's own: their types, and what is expected in words."""

_VOCABULARY = re.compile(r"[\w:, -]+")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REVISION = re.compile(r"[\w-][\w.-]*")
_UPWARDS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")


def is_hub_id(source: object) -> bool:
    """Whether ``source`` can only be on the Hub, as ``owner/name``: no file or folder here has that name."""
    return isinstance(source, str) and bool(_HUB_ID.fullmatch(source)) and not Path(source).exists()


def check_shape(where: str, fields: Mapping[str, Any]) -> None:
    """Checks the fields beside the recipe's own, and that reading the recipe opens no file.

    Args:
        where: What is read, for messages, e.g. ``"the recipe of 'out/ds'"``.
        fields: The fields of a ``recipe.yaml``.

    Raises:
        RecipeError: An unknown field, a value of the wrong type, too many classes, or a path where a name belongs.
    """
    check_fields(fields, [*FIELDS, *EXTENT, "digest", BATCH_SIZE, AUGMENTED, LABELLED, CURATED])
    for name, (kind, words) in _KINDS.items():
        value = fields.get(name)
        if value is not None and not _fits(name, value, kind):
            raise RecipeError(f"{where}: {name}: expected {words}, got {short_repr(value)}")
    _check_names(where, fields)
    _check_classes(where, fields)


def check_trust(where: str, fields: Mapping[str, Any], *, nameable: bool = False) -> None:
    """Refuses what only the user may ask for.

    Args:
        where: What was read, for messages.
        fields: Those fields of the recipe that are to be followed.
        nameable: Whether the user can also give the field anew where this is called.

    Raises:
        RecipeError: A local model or file, pickled weights, or what an installed package offers.
    """
    trust = "if the recipe is your own or you trust it, add --trust-recipe (trust_recipe=True)"
    for name, place in _places(fields).items():
        if not is_hub_id(place):
            own = _or_name(name.partition(" ")[0]) if nameable else ""
            raise RecipeError(
                f"{where} names the local {name} {short_repr(place)}, which is not followed: {trust}{own}"
            )
    for registry in (PROMPT_SOURCES, THRESHOLDS, REFINEMENTS):
        value = fields.get(registry.noun.replace(" ", "_"))
        kind = value.get("kind") if isinstance(value, Mapping) else value
        if isinstance(kind, str) and registry.is_offered(kind):
            raise RecipeError(f"{where} uses the {registry.noun} {kind!r} of an installed package: {trust}")
    if fields.get("pickle_weights") not in (None, False):
        own = _or_name("pickle_weights") if nameable else ""
        raise RecipeError(f"{where} asks for pickled weights, which can run any code: {trust}{own}")


def check_size(where: str, sizes: Mapping[str, int | None]) -> None:
    """Raises RecipeError where more samples are asked for than are made without the user's own word."""
    total = sum(size or 0 for size in sizes.values())
    if total > MOST_SAMPLES:
        raise RecipeError(
            f"{where} asks for {total} samples; more than {MOST_SAMPLES} are only generated when you ask for them: "
            "num_samples=… (--num-samples)"
        )


def _or_name(field: str) -> str:
    option = "--model" if field == "model" else f"--set {field}=…"
    return f", or give {field}=… yourself ({option})"


def _places(fields: Mapping[str, Any]) -> dict[str, Any]:
    prompts = fields.get("prompt_source")
    places = {pin.name: fields[pin.name] for pin in Recipe.PINS if fields.get(pin.name) is not None}
    if places.get("model") in BUILT_IN_MODELS:
        del places["model"]
    if isinstance(prompts, Mapping):
        places |= {f"prompt_source {key}": prompts[key] for key in _PLACES_IN_SOURCE if prompts.get(key) is not None}
    refinement = fields.get("refinement")
    if isinstance(refinement, Mapping) and refinement.get("model") is not None:
        places["refinement model"] = refinement["model"]
    steps = fields.get("augment")
    for step in steps if isinstance(steps, list) else [steps]:
        if isinstance(step, Mapping) and step.get("backgrounds") is not None:
            places["augment backgrounds"] = step["backgrounds"]
    return places


def _fits(name: str, value: Any, kind: type) -> bool:
    given = type(value)  # true is no number
    if given is not kind:
        return False
    if name == "splits":
        return all(isinstance(split, str) and type(size) in (int, type(None)) for split, size in value.items())
    if name == BATCH_SIZE:
        return 1 <= int(value) <= MOST_AT_ONCE
    return name not in (AUGMENTED, LABELLED) or isinstance(value.get("digest"), str)


def _check_names(where: str, fields: Mapping[str, Any]) -> None:
    for name in _NEVER_PATHS:
        cell = fields.get(name)
        for text in cell if isinstance(cell, list) else [cell]:
            if isinstance(text, str) and (_UPWARDS.search(text) or not text.isprintable()):
                raise RecipeError(f"{where}: {name}: {short_repr(text)} is a path, not a name")
    revision = fields.get("revision")
    if isinstance(revision, str) and not _REVISION.fullmatch(revision):
        raise RecipeError(f"{where}: revision: {short_repr(revision)} is no commit, tag or branch")


def _check_classes(where: str, fields: Mapping[str, Any]) -> None:
    classes, pairs = fields.get("classes"), fields.get("co_occurrence")
    for name in ("classes", "vocabulary"):
        entries = fields.get(name)
        if isinstance(entries, list | dict) and len(entries) > MAX_CLASS_ID:
            raise RecipeError(f"{where}: {name}: {len(entries)} classes; an 8-bit mask holds {MAX_CLASS_ID} at most")
    if isinstance(classes, str) and not _VOCABULARY.fullmatch(classes):
        raise RecipeError(f"{where}: classes: {short_repr(classes)} is a path, not a name")
    place = pairs.get("path") if isinstance(pairs, dict) else pairs
    if isinstance(place, str):
        raise RecipeError(f"{where}: co_occurrence: {short_repr(place)} is a path, which is not followed")
