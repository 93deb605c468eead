"""The recipe: every field that decides the content of a dataset, validated, with a stable digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.recipes.augment_settings import AugmentSettings, check_grids, check_named_classes
from diffumask_datasets.recipes.base import Pin, Texts, check_fields, one_line_errors
from diffumask_datasets.recipes.captions import Words
from diffumask_datasets.recipes.prompt_settings import PromptSettings, TemplatePrompts
from diffumask_datasets.recipes.resolve import OBJECTS_PER_IMAGE, resolve_fields
from diffumask_datasets.recipes.settings import (
    AttemptSettings,
    CaptureSettings,
    GenerateSettings,
    LoadSettings,
    MaskSettings,
)
from diffumask_datasets.recipes.text import normalise, word_key
from diffumask_datasets.recipes.vocabulary import ClassWords
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["ALGORITHM", "DEFAULT_PROMPTS", "FIELDS", "MAY_BE_NONE", "Recipe"]

ALGORITHM = 5
"""Raised whenever the same recipe would give other bytes than before."""

DEFAULT_PROMPTS = ("a photo of {classes}",)

MAY_BE_NONE = ("refinement", "heat_normalization", "affinity", "contrast")
"""Fields in which None is a choice; in all others it is the same as leaving them out."""

TOKEN_SIDES = (8, 16, 32)
"""Pixels a side of the image tokens whose attention is read by default; coarser ones hardly tell where something is."""

_LATER = (
    *("vocabulary", "prompt_source", "co_occurrence", "class_weights", "augment", "attention", "attention_words"),
    *LoadSettings.model_fields,
)
"""Fields that count in the digest only where they differ from their default."""


class Recipe(LoadSettings, GenerateSettings, CaptureSettings, MaskSettings, AttemptSettings):
    """Everything that decides the content of a dataset: sample k depends on (recipe, k) alone.

    How many samples are wanted is not part of it, so a dataset can grow without changing what it has.

    ``classes`` are names; through :meth:`of` also a vocabulary (``"voc"``, ``"voc:bird,dog"``, ``"my.yaml"``) or a mapping
    from names to terms, whose words go to ``vocabulary``. ``prompt_source`` says where prompts come from: ``prompts``
    unless another kind is named or the classes bring sub-classes. ``class_weights`` are the shares of the classes, equal
    when empty; ``co_occurrence`` holds (class, other, weight) for prompts of several classes, all alike when empty; through
    :meth:`of` both may be mappings, and the latter the path of captions to count in, alone or as ``{"path": …, "column":
    …}``. ``augment`` are steps that every sample goes through, in order, e.g. ``["splice:2x2", {"kind": "blur",
    "probability": 0.5}]``; others that a step needs are painted for the same recipe without ``augment``. Through :meth:`of`,
    ``objects_per_image=8`` (or a range) appends the composition that brings each image to so many objects.

    Raises:
        RecipeError: an unknown field or an illegal value (through :meth:`of`).
        UnknownClassError: an unknown vocabulary or class of one (through :meth:`of`).
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("model", "revision", PIPELINE), *LoadSettings.PINS, *MaskSettings.PINS)

    classes: tuple[str, ...]
    classes_per_image: int = Field(1, gt=0)
    class_weights: tuple[float, ...] = ()
    co_occurrence: tuple[tuple[str, str, float], ...] = ()
    vocabulary: tuple[ClassWords, ...] = ()
    prompts: Texts = DEFAULT_PROMPTS
    prompt_source: PromptSettings = TemplatePrompts()
    augment: tuple[AugmentSettings, ...] = ()
    model: str = "toybox"
    revision: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)

    @classmethod
    def of(cls, **fields: Any) -> Recipe:
        """The recipe of these fields; what is omitted, or None, is left open until the recipe is prepared.

        Vocabularies and captions that the fields name are read; the model is not.
        """
        check_fields(fields, FIELDS)
        given = {name: value for name, value in fields.items() if value is not None or name in MAY_BE_NONE}
        with one_line_errors():
            return cls(**resolve_fields(given))

    @classmethod
    def within(cls, fields: Mapping[str, Any]) -> Recipe:
        """The recipe among the fields of a recipe file, which also says how much of it is wanted and shown."""
        return cls.of(**{name: value for name, value in fields.items() if name in FIELDS})

    def completed(self, defaults: Mapping[str, Any]) -> Recipe:
        """The recipe with ``defaults`` in the fields that were not given, and grids that fit its size.

        Raises:
            RecipeError: a default that the other fields do not allow.
        """
        fields = {
            **dict(self),
            **{name: value for name, value in defaults.items() if name not in self.model_fields_set},
        }
        if fields["attention_grids"] is None:
            shorter = min(fields["height"], fields["width"])
            fields["attention_grids"] = tuple(max(1, shorter // side) for side in TOKEN_SIDES)
        with one_line_errors():
            return type(self)(**fields)

    @field_validator("classes")
    @classmethod
    def _legal_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(map(normalise, classes))
        if not names or not all(names):
            raise ValueError("name at least one class, none of them empty, e.g. classes=['car', 'boat']")
        if len(names) > MAX_CLASS_ID:
            raise ValueError(f"{len(names)} classes; an 8-bit mask holds at most {MAX_CLASS_ID}")
        seen = Counter(map(word_key, names))
        repeated = [name for name in names if seen[word_key(name)] > 1]
        if repeated:
            raise ValueError(f"class {repeated[0]!r} is named twice")
        return names

    @field_validator("prompts")
    @classmethod
    def _some_prompts(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        if not prompts:
            raise ValueError(f"give at least one prompt, e.g. {DEFAULT_PROMPTS[0]!r}")
        for prompt in prompts:
            if prompt.count("{classes}") > 1:
                raise ValueError(f"{prompt!r} has more than one place for the class terms")
        return prompts

    @model_validator(mode="after")
    def _classes_per_image_fit(self) -> Recipe:
        if self.classes_per_image > len(self.classes):
            raise ValueError(
                f"classes_per_image is {self.classes_per_image} but only {len(self.classes)} classes are named"
            )
        return self

    @model_validator(mode="after")
    def _words_are_told_apart(self) -> Recipe:
        owners: dict[str, str] = {}
        for word, name in self.words:
            owner = owners.setdefault(word_key(word), name)
            if owner != name:
                raise ValueError(f"the word {word!r} stands for {owner!r} and for {name!r}; keep one of them")
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> Recipe:
        weights = self.class_weights
        if weights and (len(weights) != len(self.classes) or min(weights) < 0 or max(weights) == 0):
            raise ValueError(
                f"class_weights: expected {len(self.classes)} numbers from 0 up, not all 0, got {list(weights)}"
            )
        for first, other, weight in self.co_occurrence:
            if first not in self.classes or other not in self.classes or first == other or weight < 0:
                raise ValueError(
                    f"co_occurrence: expected two different classes and a weight from 0 up, got {[first, other, weight]}"
                )
        return self

    @model_validator(mode="after")
    def _augmentations_fit(self) -> Recipe:
        check_named_classes(self.augment, self.classes)
        if self.height is not None and self.width is not None:
            check_grids(self.augment, height=self.height, width=self.width)
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Recipe:
        if self.prompt_source.kind != "templates" and self.prompts != DEFAULT_PROMPTS:
            raise ValueError(f"prompts are not used by prompt_source {self.prompt_source.kind!r}: give one of them")
        return self

    def words_of(self, name: str) -> ClassWords:
        """What the class ``name`` is called; the name itself where nothing else was given."""
        return next((words for words in self.vocabulary if words.name == name), ClassWords(name, (name,)))

    @property
    def uses_self_attention(self) -> bool:
        """Whether the model's self-attention is read: to spread heat, or to weigh layers."""
        return self.affinity == "self-attention" or self.attention == "auto"

    @property
    def words(self) -> Words:
        """(word, class) of every word that means one of the classes."""
        known = {words.name: words.words for words in self.vocabulary}
        return tuple((word, name) for name in self.classes for word in known.get(name, (name,)))

    def pinned(self) -> Recipe:
        """A copy in which every model and all captions are pinned to their current content.

        Raises:
            ModelError: a model cannot be found, or does not have the content that it is pinned to.
            RecipeError: captions that cannot be read or have changed.
        """
        return super().pinned().model_copy(update={"prompt_source": self.prompt_source.pinned()})

    @property
    def digest(self) -> str:
        """Twelve hex digits that change when any field does; the start of every sample id."""
        fields = {**self.identity(), "prompt_source": self.prompt_source.identity()}
        fields["augment"] = [step.identity() for step in self.augment]
        for name in _LATER:
            if getattr(self, name) == type(self).model_fields[name].default:
                fields.pop(name, None)
        canonical = json.dumps({"algorithm": ALGORITHM, **fields}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


FIELDS = (*Recipe.model_fields, OBJECTS_PER_IMAGE)
"""What may be given for a recipe: its fields, and how dense its scenes are to be, which becomes a step of ``augment``."""
