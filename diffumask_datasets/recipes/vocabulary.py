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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import RecipeError, UnknownClassError, suggestion
from diffumask_datasets.recipes.text import normalise, word_key
from diffumask_datasets.recipes.yaml_reader import read_yaml
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = [
    "VOCABULARIES",
    "ClassWords",
    "Vocabulary",
    "VocabularyClass",
    "load_vocabulary",
    "places",
    "resolve_classes",
    "styles",
]

VOCABULARIES = ("ade20k", "cityscapes", "coco", "toybox", "voc")
"""The built-in vocabularies."""

_NEAR = 0.75
"""A class that is this near to a vocabulary's name is taken for a misspelling of it."""

_WORD_LISTS = ("terms", "also", "sub_classes", "contexts")
_WORD_FIELDS = (*_WORD_LISTS, "places", "mass", "like", "note")
_ENTRY_FIELDS = (*_WORD_FIELDS, "id", "name", "color", "kind")


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


def resolve_classes(classes: Any) -> tuple[ClassWords, ...]:
    """What ``classes=`` means: a vocabulary (``"voc"``, ``"voc:bird,dog"``, ``"my.yaml"``), one name, names, or a
    mapping from names to their terms (or to ``{"terms": …, "sub_classes": …}``, the fields of a file that concern words).

    Raises:
        RecipeError: neither of these, or a class with no terms.
        UnknownClassError: a misspelt vocabulary, or a class that it does not have.
    """
    if isinstance(classes, str):
        return _resolve_text(classes)
    if isinstance(classes, Mapping):
        entries = {str(name): _as_entry(name, value) for name, value in classes.items()}
        return tuple(_words(name, entry, f"class {name!r}", _WORD_FIELDS) for name, entry in entries.items())
    if isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes):
        return tuple(ClassWords(name, (name,)) if name.strip() else _nameless() for name in classes)
    raise RecipeError("classes: give names, a vocabulary such as 'voc', or a mapping from names to their terms")


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


def _resolve_text(text: str) -> tuple[ClassWords, ...]:
    source, _, chosen = text.partition(":") if ":" in text and text.split(":")[0] in VOCABULARIES else (text, "", "")
    if source in VOCABULARIES or Path(source).suffix in (".yaml", ".yml"):
        vocabulary = load_vocabulary(source)
        names = [normalise(name) for name in chosen.split(",")] if chosen else vocabulary.names
        return tuple(vocabulary.class_named(name).words for name in names)
    if not text.strip():
        _nameless()
    if " " not in text and suggestion(text, VOCABULARIES, cutoff=_NEAR):
        raise UnknownClassError(
            f"unknown vocabulary {text!r}{suggestion(text, VOCABULARIES)}; there are: {', '.join(VOCABULARIES)}; "
            f"for a class of this name write classes=[{text!r}]"
        )
    return (ClassWords(text, (text,)),)


def _nameless() -> ClassWords:
    raise RecipeError("classes: name at least one class, none of them empty, e.g. classes=['car', 'boat']")


def _as_entry(name: Any, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, str):
        return {"terms": [value] if value else []}
    if isinstance(value, Sequence):
        return {"terms": value}
    raise RecipeError(f"class {name!r}: expected its terms, e.g. ['car', 'automobile'], got {value!r}")


def _words(name: str, entry: Mapping[str, Any], source: str, legal: Sequence[str]) -> ClassWords:
    _check_fields(entry, source, legal)
    like = _liked(entry["like"], source) if entry.get("like") else None
    lists: dict[str, tuple[str, ...]] = {}
    for field in _WORD_LISTS:
        default = getattr(like, field) if like and field != "terms" else ()
        lists[field] = _texts(entry[field], f"{source}: {field}") if field in entry else default
    if "terms" not in entry:
        lists["terms"] = like.terms if like else (name,)
    if "places" in entry:
        own = lists["contexts"] if "contexts" in entry else ()
        lists["contexts"] = (*own, *_all_places(_texts(entry["places"], f"{source}: places")))
    mass = entry.get("mass", like.mass if like else False)
    if not isinstance(mass, bool):
        raise RecipeError(f"{source}: mass: expected true or false, got {mass!r}")
    return ClassWords(name, **lists, mass=mass)


def _all_places(groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(context for group in groups for context in places(group)))


def _liked(reference: str, source: str) -> ClassWords:
    vocabulary, _, name = str(reference).partition("/")
    # Of built-in ones alone: a file could name itself, and a stranger's recipe any file.
    if not name or vocabulary not in VOCABULARIES:
        known = ", ".join(VOCABULARIES)
        raise RecipeError(f"{source}: like: expected a class of {known}, e.g. voc/dog, got {reference!r}")
    return _built_in(vocabulary).class_named(name).words


def _texts(value: Any, what: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise RecipeError(f"{what}: expected texts, got {value!r} (YAML reads yes, no, on and numbers: quote them)")
    return tuple(texts)


def _check_fields(entry: Mapping[str, Any], source: str, legal: Sequence[str]) -> None:
    for field in entry:
        if field not in legal:
            raise RecipeError(
                f"{source}: unknown field {field!r}{suggestion(str(field), legal)}; legal: {', '.join(legal)}"
            )


def _read(content: Any, source: str) -> Vocabulary:
    entries = content.get("classes") if isinstance(content, Mapping) else None
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise RecipeError(f"{source}: expected a list of classes, e.g. 'classes: [{{id: 1, name: dog}}]'")
    classes = tuple(_class(entry, position, source) for position, entry in enumerate(entries, start=1))
    _check_unique("id", [entry.id for entry in classes], source)
    _check_unique("name", [word_key(entry.name) for entry in classes], source)
    # Of one class, several spellings of a word are no contradiction.
    _check_unique("word", [key for entry in classes for key in dict.fromkeys(map(word_key, entry.words.words))], source)
    name = str(content.get("name") or Path(source).stem)
    return Vocabulary(name, str(content.get("title") or name), classes)


def _class(entry: Any, position: int, source: str) -> VocabularyClass:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise RecipeError(f"{source}: class {position}: expected a mapping with a name, got {entry!r}")
    where = f"{source}: {entry['name']}"
    number = entry.get("id", position)
    if type(number) is not int or not 1 <= number <= MAX_CLASS_ID:
        raise RecipeError(f"{where}: id {number!r}: expected 1..{MAX_CLASS_ID} (0 is background and 255 is ignore)")
    kind = entry.get("kind", "thing")
    if kind not in ("thing", "stuff"):
        raise RecipeError(f"{where}: kind {kind!r}: expected thing or stuff")
    words = _words(entry["name"], entry, where, _ENTRY_FIELDS)
    return VocabularyClass(
        number, words.name, words, _color(entry.get("color"), where), kind, str(entry.get("note", ""))
    )


def _color(value: Any, where: str) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value):
        red, green, blue = value
        return red, green, blue
    raise RecipeError(f"{where}: color: expected [red, green, blue] in 0..255, got {value!r}")


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
