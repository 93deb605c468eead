"""What a user may write in the fields of a recipe, in full: names, words, shares and pairs of classes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from diffumask_datasets.errors import RecipeError, short_repr, suggestion
from diffumask_datasets.recipes.augment_settings import parse_augment
from diffumask_datasets.recipes.captions import Words, count_co_occurrence
from diffumask_datasets.recipes.prompt_settings import CaptionSettings
from diffumask_datasets.recipes.text import normalise
from diffumask_datasets.recipes.vocabulary import ClassWords, resolve_classes

__all__ = ["OBJECTS_PER_IMAGE", "resolve_fields"]

OBJECTS_PER_IMAGE = "objects_per_image"
"""The target of density among the fields that a user gives."""

_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters but white space, and halves of surrogate pairs, which UTF-8 cannot hold."""


def resolve_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe with vocabularies, mappings and caption files read into what they stand for.

    Raises:
        RecipeError: words, weights or pairs of something that is none of the classes, or captions that cannot be read.
        UnknownClassError: an unknown vocabulary or class of one.
    """
    for name, value in fields.items():
        _check_characters(name, value)
    fields = _with_density(fields)
    if "classes" not in fields:
        return fields
    named = resolve_classes(fields["classes"])
    words = _merged(named, fields.get("vocabulary", ()))
    names = tuple(entry.name for entry in words)
    fields = {**fields, "classes": names, "vocabulary": tuple(entry for entry in words if not entry.plain)}
    if "prompt_source" not in fields and "prompts" not in fields and any(entry.sub_classes for entry in words):
        fields["prompt_source"] = "sub_classes"
    if fields.get("augment"):
        fields["augment"] = parse_augment(fields["augment"])
    if "class_weights" in fields:
        fields["class_weights"] = _weights(fields["class_weights"], names)
    if "co_occurrence" in fields:
        spoken = tuple((word, entry.name) for entry in words for word in entry.words)
        fields["co_occurrence"] = _triples(fields["co_occurrence"], spoken)
    return fields


def _with_density(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the target :data:`OBJECTS_PER_IMAGE` as the last augmentation."""
    if OBJECTS_PER_IMAGE not in fields:
        return fields
    target = fields[OBJECTS_PER_IMAGE]
    limits = target if isinstance(target, (list, tuple)) else (target, target)
    steps = parse_augment(fields["augment"]) if fields.get("augment") else ()
    composition = parse_augment({"kind": "compose", "objects": limits})
    rest = {name: value for name, value in fields.items() if name != OBJECTS_PER_IMAGE}
    return {**rest, "augment": (*steps, *composition)}


def _check_characters(name: str, value: Any) -> None:
    if isinstance(value, str) and (wrong := _NO_TEXT.search(value)):
        raise RecipeError(
            f"{name}: {short_repr(value)} holds {wrong[0]!r}, which is no character of a text; take it out"
        )
    if isinstance(value, Mapping):
        value = itertools.chain.from_iterable(value.items())
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | BaseModel):
        for part in value:
            _check_characters(name, part)


def _merged(named: tuple[ClassWords, ...], given: Any) -> tuple[ClassWords, ...]:
    """The named classes, with the words that a recipe file gives beside the names."""
    if not isinstance(given, (list, tuple)):
        raise RecipeError(f"vocabulary: expected a list of entries with a name and terms, got {short_repr(given)}")
    entries = [entry if isinstance(entry, ClassWords) else _entry(entry) for entry in given]
    own = {entry.name: entry for entry in entries}
    for name in own:
        if name not in [entry.name for entry in named]:
            raise RecipeError(f"vocabulary: {name!r} is none of the classes; give classes as a mapping instead")
    return tuple(own.get(entry.name, entry) for entry in named)


def _entry(fields: Any) -> ClassWords:
    if not isinstance(fields, Mapping) or "name" not in fields:
        raise RecipeError(f"vocabulary: expected entries with a name and terms, got {fields!r}")
    (words,) = resolve_classes({fields["name"]: {name: value for name, value in fields.items() if name != "name"}})
    return words


def _weights(given: Any, names: tuple[str, ...]) -> Any:
    if isinstance(given, Mapping):
        given = {normalise(str(name)): weight for name, weight in given.items()}
        check = [name for name in given if name not in names]
        if check:
            raise RecipeError(f"class_weights: {check[0]!r} is none of the classes{suggestion(check[0], names)}")
        given = [given.get(name, 1) for name in names]
    if (
        isinstance(given, (list, tuple))
        and len(given) == len(names)
        and given[0]
        and all(weight == given[0] for weight in given)
    ):
        return ()
    return given


def _triples(given: Any, words: Words) -> Any:
    """(class, other, weight) triples of a mapping, of captions to count in, or as given; sorted."""
    if isinstance(given, str):
        given = {"path": given}
    if isinstance(given, Mapping):
        counted = isinstance(given.get("path"), str)
        given = _counted(CaptionSettings(**given), words) if counted else _flattened(given)
    if not isinstance(given, (list, tuple)) or not all(isinstance(triple, (list, tuple)) for triple in given):
        raise _no_triples(given)
    triples = sorted(map(_normalised, given), key=lambda triple: tuple(map(str, triple[:2])))
    for one, next_one in itertools.pairwise(triples):
        if one[:2] == next_one[:2]:
            raise RecipeError(f"co_occurrence: {list(one[:2])} is given twice; keep one weight")
    return tuple(triples)


def _normalised(triple: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(normalise(part) if isinstance(part, str) else part for part in triple)


def _flattened(given: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    if not all(isinstance(others, Mapping) for others in given.values()):
        raise _no_triples(given)
    return [(first, other, weight) for first, others in given.items() for other, weight in others.items()]


def _counted(source: CaptionSettings, words: Words) -> list[tuple[Any, ...]]:
    triples = _flattened(count_co_occurrence(source.read(), words))
    # No triples at all would mean that all classes occur together alike.
    if not triples:
        raise RecipeError(f"co_occurrence: no caption of {source.path!r} names two of the classes; give other captions")
    return triples


def _no_triples(given: Any) -> RecipeError:
    return RecipeError(
        "co_occurrence: expected {class: {other class: weight}}, or the path of captions to count in, alone or as "
        f"{{path: …, column: …}}; got {given!r}"
    )
