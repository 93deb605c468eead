"""What a user may write in the fields of a recipe, in full: names, words, shares and pairs of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from diffumask_datasets.augment_settings import parse_augment
from diffumask_datasets.captions import Words, count_co_occurrence, read_captions
from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.vocabulary import ClassWords, resolve_classes

__all__ = ["resolve_fields"]


def resolve_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe with vocabularies, mappings and caption files read into what they stand for.

    Raises:
        RecipeError: words, weights or pairs of something that is none of the classes, or captions that cannot be read.
        UnknownClassError: an unknown vocabulary or class of one.
    """
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


def _merged(named: tuple[ClassWords, ...], given: Iterable[Any]) -> tuple[ClassWords, ...]:
    """The named classes, with the words that a recipe file gives beside the names."""
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
        check = [name for name in given if name not in names]
        if check:
            raise RecipeError(f"class_weights: {check[0]!r} is none of the classes{suggestion(str(check[0]), names)}")
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
    if isinstance(given, str):
        given = count_co_occurrence(read_captions(given), words)
    if isinstance(given, Mapping):
        if not all(isinstance(others, Mapping) for others in given.values()):
            raise RecipeError(
                "co_occurrence: expected {class: {other class: weight}}, or the path of captions to count in"
            )
        given = [(first, other, weight) for first, others in given.items() for other, weight in others.items()]
    return tuple(sorted(map(tuple, given), key=lambda triple: tuple(map(str, triple[:2]))))
