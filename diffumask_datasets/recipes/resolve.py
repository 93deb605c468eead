"""What a user may write in the fields of a recipe, in full: names, words, shares and pairs of classes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from diffumask_datasets.errors import RecipeError, UnknownClassError, short_repr, suggestion
from diffumask_datasets.recipes.augment_settings import parse_augment
from diffumask_datasets.recipes.captions import Words, count_co_occurrence
from diffumask_datasets.recipes.prompt_settings import CaptionSettings
from diffumask_datasets.recipes.text import normalise
from diffumask_datasets.recipes.vocabulary import (
    VOCABULARIES,
    ClassWords,
    VocabularyClass,
    class_words,
    load_vocabulary,
    places,
    styles,
)

__all__ = ["OBJECTS_PER_IMAGE", "resolve_classes", "resolve_fields", "stuff_of"]

OBJECTS_PER_IMAGE = "objects_per_image"
"""The target of density among the fields that a user gives."""

_NEAR = 0.75
"""A class that is this near to a vocabulary's name is taken for a misspelling of it."""

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
    fields = {"stuff": stuff_of(fields["classes"]), **fields, "classes": names}
    fields["vocabulary"] = tuple(entry for entry in words if not entry.plain)
    if "prompt_source" not in fields and "prompts" not in fields and any(entry.sub_classes for entry in words):
        fields["prompt_source"] = "sub_classes"
    fields["prompt_source"] = _filled(fields.get("prompt_source", "templates"), fields.get("model", "toybox"))
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


def resolve_classes(classes: Any) -> tuple[ClassWords, ...]:
    """What ``classes=`` means: a vocabulary (``"voc"``, ``"voc:bird,dog"``, ``"my.yaml"``), one name, names, or a
    mapping from names to their terms (or to ``{"terms": …, "sub_classes": …}``, the fields of a file that concern words).

    Raises:
        RecipeError: neither of these, or a class with no terms.
        UnknownClassError: a misspelt vocabulary, or a class that it does not have.
    """
    if isinstance(classes, str):
        found = _of_vocabulary(classes)
        return (_one_class(classes),) if found is None else tuple(entry.words for entry in found)
    if isinstance(classes, Mapping):
        entries = {str(name): _as_entry(name, value) for name, value in classes.items()}
        return tuple(class_words(name, entry) for name, entry in entries.items())
    if isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes):
        return tuple(ClassWords(name, (name,)) if name.strip() else _nameless() for name in classes)
    raise RecipeError("classes: give names, a vocabulary such as 'voc', or a mapping from names to their terms")


def stuff_of(classes: Any) -> tuple[str, ...]:
    """The names of the classes without instances, such as road and sky, where ``classes`` is a vocabulary."""
    found = _of_vocabulary(classes) if isinstance(classes, str) else None
    return tuple(entry.name for entry in found or () if entry.kind == "stuff")


def _of_vocabulary(text: str) -> tuple[VocabularyClass, ...] | None:
    """The classes of ``"voc"``, ``"voc:bird,dog"`` or ``"my.yaml"``; None for any other text."""
    source, _, chosen = text.partition(":") if ":" in text and text.split(":")[0] in VOCABULARIES else (text, "", "")
    if source not in VOCABULARIES and Path(source).suffix not in (".yaml", ".yml"):
        return None
    vocabulary = load_vocabulary(source)
    names = [normalise(name) for name in chosen.split(",")] if chosen else vocabulary.names
    return tuple(vocabulary.class_named(name) for name in names)


def _one_class(text: str) -> ClassWords:
    if not text.strip():
        _nameless()
    if " " not in text and suggestion(text, VOCABULARIES, cutoff=_NEAR):
        raise UnknownClassError(
            f"unknown vocabulary {text!r}{suggestion(text, VOCABULARIES)}; there are: {', '.join(VOCABULARIES)}; "
            f"for a class of this name write classes=[{text!r}]"
        )
    return ClassWords(text, (text,))


def _nameless() -> ClassWords:
    raise RecipeError("classes: name at least one class, none of them empty, e.g. classes=['car', 'boat']")


def _as_entry(name: str, value: Any) -> Any:
    """The fields of a class that a mapping gives: in full, or its terms alone."""
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, str):
        return {"terms": [value] if value else []}
    if isinstance(value, Sequence):
        return {"terms": value}
    raise RecipeError(f"class {name!r}: expected its terms, e.g. ['car', 'automobile'], got {value!r}")


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


def _filled(source: Any, model: Any) -> Any:
    """A prompt source with the phrases that sub-class prompts are made of, where it names none."""
    source = {"kind": source} if isinstance(source, str) else source
    if not isinstance(source, Mapping) or source.get("kind") != "sub_classes":
        return source
    return {"styles": styles(str(model)), "contexts": places("any"), **source}


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
