"""Vocabularies: the classes of known datasets, and what prompts and captions call them. Data files, read here.

The built-in ones lie in ``vocabularies/*.yaml``; a user's own file has the same form:

    name: pets
    classes:
      - id: 1                          # official id in 1..254; masks count classes from 1 in their order all the same
        name: dog
        color: [64, 0, 128]            # optional
        kind: thing                    # or stuff
        terms: [dog]                   # what a prompt calls it, the usual one first; left out, the name
        also: [puppy]                  # words that mean it in a caption, never written in a prompt
        sub_classes: [beagle, wet]     # kinds and looks, written before the term unless they hold a word of the class
        places: [pets]                 # groups of vocabularies/phrases.yaml; or contexts: [on a lawn]
        mass: false                    # true: written without an article
        like: voc/dog                  # takes what is left out here from a class of a built-in vocabulary
"""

from __future__ import annotations

import functools
import importlib.resources
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from diffumask_datasets.errors import RecipeError, UnknownClassError, suggestion
from diffumask_datasets.recipes.base import check_fields, one_line_errors
from diffumask_datasets.recipes.text import normalise, word_key
from diffumask_datasets.recipes.yaml_reader import read_yaml
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = [
    "VOCABULARIES",
    "ClassWords",
    "Vocabulary",
    "VocabularyClass",
    "class_words",
    "load_vocabulary",
    "places",
    "styles",
]

VOCABULARIES = ("ade20k", "cityscapes", "coco", "toybox", "voc")
"""The built-in vocabularies."""

_WORD_LISTS = ("terms", "also", "sub_classes", "contexts")


@dataclass(frozen=True, slots=True)
class ClassWords:
    """What a class is called. Every text is normalised (:func:`diffumask_datasets.recipes.text.normalise`).

    ``terms`` may stand in a prompt, the usual one first; ``also`` are further words that mean the class in a caption;
    ``sub_classes`` are kinds and looks; ``contexts`` are where it is met; ``mass`` drops the article.

    Raises:
        RecipeError: no term, or an empty text.
    """

    name: str
    terms: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    sub_classes: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    mass: bool = False

    def __post_init__(self) -> None:
        for field in _WORD_LISTS:
            texts = tuple(dict.fromkeys(map(normalise, getattr(self, field))))
            if not all(texts):
                raise RecipeError(f"class {self.name!r}: one of its {field} is empty")
            object.__setattr__(self, field, texts)
        object.__setattr__(self, "also", tuple(word for word in self.also if word not in self.terms))
        object.__setattr__(self, "name", normalise(self.name))
        if not self.terms:
            raise RecipeError(f"class {self.name!r} has no terms: give at least one word that a prompt can call it by")

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that means this class."""
        return (*self.terms, *self.also)

    @property
    def plain(self) -> bool:
        """Whether the name alone says all of it."""
        return self == ClassWords(self.name, (self.name,))


@dataclass(frozen=True, slots=True)
class VocabularyClass:
    """One class of a vocabulary: official ``id`` (1..254), RGB ``color`` and ``kind`` (``thing`` or ``stuff``)."""

    id: int
    name: str
    words: ClassWords
    color: tuple[int, int, int] | None = None
    kind: str = "thing"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The classes of one vocabulary, in its official order."""

    name: str
    title: str
    classes: tuple[VocabularyClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The class names in order."""
        return tuple(entry.name for entry in self.classes)

    @property
    def ids(self) -> dict[str, int]:
        """Class name → official id, in the official order."""
        return {entry.name: entry.id for entry in self.classes}

    def class_named(self, name: str) -> VocabularyClass:
        """Raises UnknownClassError, with the nearest name, for a class that is not in it."""
        for entry in self.classes:
            if entry.name == name:
                return entry
        raise UnknownClassError(
            f"the vocabulary {self.name!r} has no class {name!r}{suggestion(name, self.names)}; "
            f"it has: {', '.join(self.names)}"
        )


def _texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("expected texts (YAML reads yes, no, on and numbers: quote them)")
    return tuple(texts)


def _channels(value: Any) -> tuple[int, ...]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or not all(type(v) is int and 0 <= v <= 255 for v in value)
    ):
        raise ValueError("expected [red, green, blue] in 0..255")
    return tuple(value)


_Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class _WordEntry(BaseModel):
    """The fields of a class that concern its words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    terms: _Texts = ()
    also: _Texts = ()
    sub_classes: _Texts = ()
    contexts: _Texts = ()
    places: _Texts = ()
    mass: bool = False
    like: str = ""
    note: str = ""

    def words(self, name: str, where: str) -> ClassWords:
        """The words of the class ``name``; those of the class that it is like stand for what is not given."""
        inherited = _class_like(self.like, where) if self.like else ClassWords(name, (name,))
        own = (field for field in (*_WORD_LISTS, "mass") if field in self.model_fields_set)
        words = replace(inherited, name=name, **{field: getattr(self, field) for field in own})
        if "places" not in self.model_fields_set:
            return words
        found = (context for group in self.places for context in places(group))
        return replace(words, contexts=tuple(dict.fromkeys((*self.contexts, *found))))


class _ClassEntry(_WordEntry):
    """All fields of a class in a vocabulary file."""

    id: int = Field(ge=1, le=MAX_CLASS_ID)
    name: str
    color: Annotated[tuple[int, int, int] | None, BeforeValidator(_channels)] = None
    kind: Literal["thing", "stuff"] = "thing"


def _class_like(reference: str, where: str) -> ClassWords:
    vocabulary, _, name = reference.partition("/")
    # Of built-in ones alone: a file could name itself, and a stranger's recipe any file.
    if not name or vocabulary not in VOCABULARIES:
        known = ", ".join(VOCABULARIES)
        raise RecipeError(f"{where}: like: expected a class of {known}, e.g. voc/dog, got {reference!r}")
    return _built_in(vocabulary).class_named(name).words


def load_vocabulary(name: str | Path) -> Vocabulary:
    """The built-in vocabulary of this name, or the one in a YAML file.

    Raises:
        UnknownClassError: no such vocabulary; suggests the nearest.
        RecipeError: a file that cannot be read, or with entries that are not legal.
    """
    if name in VOCABULARIES:
        return _built_in(str(name))
    path = Path(name).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        known = ", ".join(VOCABULARIES)
        raise UnknownClassError(
            f"unknown vocabulary {str(name)!r}{suggestion(str(name), VOCABULARIES)}; there are: {known}, or a .yaml file"
        )
    return _read(read_yaml(path, what="the vocabulary", error=RecipeError), str(path))


@functools.cache
def styles(model: str = "") -> tuple[str, ...]:
    """The templates that the sub-class prompts use unless told otherwise; ``model`` may have some of its own."""
    phrases = _phrases()
    return tuple(phrases["model_styles"].get(model) or phrases["styles"])


@functools.cache
def places(group: str) -> tuple[str, ...]:
    """The contexts of a group of places, e.g. ``"street"``.

    Raises:
        RecipeError: no such group; lists them.
    """
    groups = _phrases()["places"]
    if group not in groups:
        raise RecipeError(f"unknown places {group!r}{suggestion(group, groups)}; there are: {', '.join(groups)}")
    return tuple(groups[group])


def class_words(name: str, entry: Mapping[str, Any]) -> ClassWords:
    """The words of a class by the fields of a vocabulary file that concern them.

    Raises:
        RecipeError: a field that is unknown or illegal, or no term.
        UnknownClassError: it is like a class that does not exist.
    """
    where = f"class {name!r}"
    return _checked(_WordEntry, entry, where).words(name, where)


_Entry = TypeVar("_Entry", bound=_WordEntry)


def _checked(kind: type[_Entry], entry: Mapping[str, Any], where: str) -> _Entry:
    check_fields(entry, kind.model_fields, where=where)
    with one_line_errors(where):
        return kind.model_validate(dict(entry))


def _read(content: Any, source: str) -> Vocabulary:
    entries = content.get("classes") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise RecipeError(f"{source}: expected a list of classes, e.g. 'classes: [{{id: 1, name: dog}}]'")
    classes = tuple(_class(entry, position, source) for position, entry in enumerate(entries, start=1))
    _check_unique("id", [entry.id for entry in classes], source)
    _check_unique("name", [word_key(entry.name) for entry in classes], source)
    # Of one class, several spellings of a word are no contradiction.
    _check_unique("word", [key for entry in classes for key in dict.fromkeys(map(word_key, entry.words.words))], source)
    name = str(content.get("name") or Path(source).stem)
    return Vocabulary(name, str(content.get("title") or name), classes)


def _class(value: Any, position: int, source: str) -> VocabularyClass:
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
        raise RecipeError(f"{source}: class {position}: expected a mapping with a name, got {value!r}")
    where = f"{source}: {fields['name']}"
    entry = _checked(_ClassEntry, {"id": position, **fields}, where)
    words = entry.words(entry.name, where)
    return VocabularyClass(entry.id, words.name, words, entry.color, entry.kind, entry.note)


def _check_unique(what: str, values: Iterable[Any], source: str) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise RecipeError(f"{source}: the {what} {value!r} is given {count} times; each class needs its own")


@functools.cache
def _built_in(name: str) -> Vocabulary:
    return _read(_data(name), name)


@functools.cache
def _phrases() -> dict[str, Any]:
    phrases: dict[str, Any] = _data("phrases")
    return phrases


def _data(name: str) -> Any:
    path: Any = importlib.resources.files("diffumask_datasets.recipes") / "vocabularies" / f"{name}.yaml"
    return read_yaml(path, what="the vocabulary", error=RecipeError)
