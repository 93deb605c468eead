"""The recipe: every field that decides the content of a dataset, validated, with a stable digest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.recipes.augment_settings import AugmentSettings, check_grids, check_named_classes
from diffumask_datasets.recipes.base import Pin, Texts, first_problem
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
from diffumask_datasets.recipes.vocabulary import ClassWords, styles
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["ALGORITHM", "DEFAULT_PROMPTS", "FIELDS", "Recipe", "check_fields"]

ALGORITHM = 5
"""Raised whenever the same recipe would give other bytes than before."""

DEFAULT_PROMPTS = ("a photo of {classes}",)

_MODEL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "toybox": {
        "height": 128,
        "width": 128,
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "attention_grids": (16,),
        "attention_layers": ("up_blocks.2.attentions.*",),
        "attention_timesteps": (50, 450),
        "attention_words": "phrase",
        "competition": 16.0,
        "affinity": "self-attention",
        "affinity_power": 1,
    },
    "": {
        "height": 512,
        "width": 512,
        "num_inference_steps": 50,
        "guidance_scale": 7.5,
        "attention_grids": (16, 32, 64),
        "attention_timesteps": (0, 1000),
    },
}
"""What an omitted field becomes, per model; the empty name stands for all others (Stable Diffusion 1/2)."""


_MAY_BE_NONE = ("refinement", "heat_normalization", "affinity", "contrast")
"""Fields in which None is a choice of its own."""


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
        """The recipe of these fields; an omitted one, or None, takes the default of the model."""
        check_fields(fields, FIELDS)
        given = {name: value for name, value in fields.items() if value is not None or name in _MAY_BE_NONE}
        try:
            return cls(**resolve_fields(given))
        except ValidationError as error:
            raise RecipeError(first_problem(error)) from None

    @classmethod
    def within(cls, fields: Mapping[str, Any]) -> Recipe:
        """The recipe among the fields of a recipe file, which also says how much of it is wanted and shown."""
        return cls.of(**{name: value for name, value in fields.items() if name in FIELDS})

    @model_validator(mode="before")
    @classmethod
    def _fill_model_defaults(cls, fields: dict[str, Any]) -> dict[str, Any]:
        model = fields.get("model", "toybox")
        if not isinstance(model, str):
            return fields  # refused by the validation of the field itself
        source = fields.get("prompt_source")
        source = {"kind": source} if isinstance(source, str) else source
        if isinstance(source, Mapping) and source.get("kind") == "sub_classes":
            fields = {**fields, "prompt_source": {"styles": styles(model), **source}}
        return {**_MODEL_DEFAULTS.get(model, _MODEL_DEFAULTS[""]), **fields}

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


def check_fields(fields: Iterable[str], legal: Iterable[str]) -> None:
    """Raises RecipeError, with the nearest legal name, for the first field that is not legal."""
    names = sorted(legal)
    for name in fields:
        if name not in names:
            raise RecipeError(f"unknown field {name!r}{suggestion(name, names)}; legal fields: {', '.join(names)}")
