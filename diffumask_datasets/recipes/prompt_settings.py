"""The prompt sources that a recipe may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator
from typing_extensions import Self

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.models.reference import TEXT_MODEL
from diffumask_datasets.recipes.base import Pin, Settings, Text, Texts
from diffumask_datasets.recipes.captions import fingerprint_captions, read_captions
from diffumask_datasets.recipes.registry import PROMPT_SOURCES, Choice

__all__ = [
    "PLACE",
    "CaptionPrompts",
    "CaptionSettings",
    "LanguageModelPrompts",
    "PromptSettings",
    "RetrievalPrompts",
    "SubClassPrompts",
    "TemplatePrompts",
]

RETRIEVAL = 3
"""Raised whenever the same captions and settings would give other prompts than before."""

PLACE = "{classes}"
"""Where the class terms stand in a template."""

_STOP = (
    "stock vector 3d blur blurry blurred cartoon close-up closeup illustration clipart drawing sketch icon logo render "
    "rendering silhouette background wallpaper isolated pattern toy statue poster painting tattoo animated anime"
)
STOP_WORDS = tuple(_STOP.split())
"""Words of captions that do not describe a photo of the thing itself."""


class TemplatePrompts(Settings):
    """The recipe's ``prompts``: templates with ``{classes}``, or captions that name the classes."""

    kind: Literal["templates"] = "templates"


class SubClassPrompts(Settings):
    """Style × sub-class × context, e.g. "a candid photo of a wet beagle dog on a beach".

    ``styles`` are templates; ``contexts`` serve classes that bring none; ``blank`` is the share of prompts without a
    sub-class, and, drawn apart, without a context.
    """

    kind: Literal["sub_classes"] = "sub_classes"
    styles: Texts = Field(min_length=1)
    contexts: Texts
    blank: float = Field(0.2, ge=0, le=1)

    @field_validator("styles")
    @classmethod
    def _one_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count(PLACE) != 1:
                raise ValueError(f"the style {template!r} needs {PLACE} exactly once")
        return templates


class CaptionSettings(Settings):
    """Where captions lie: ``path`` is a text file, a parquet file, a dataset folder or a Hub id.

    ``column`` holds them; ``split``, ``config`` and ``revision`` are those of a dataset. ``content`` is the fingerprint of
    the captions, found when the recipe is prepared; with it, where they lie no longer matters.
    """

    path: str
    column: str = "caption"
    split: str = "train"
    config: str | None = None
    revision: str | None = None
    content: str | None = None

    def identity(self) -> dict[str, Any]:
        """Without the place, once the content is known."""
        place = ("path", "column", "split", "config", "revision") if self.content else ()
        return {name: value for name, value in super().identity().items() if name not in place}

    def pinned(self) -> Self:
        """A copy that is pinned to the current content of the captions, too.

        Raises:
            RecipeError: they cannot be read or have changed.
        """
        return super().pinned().model_copy(update={"content": fingerprint_captions(self.read())})

    def read(self) -> tuple[str, ...]:
        """The captions.

        Raises:
            RecipeError: they cannot be read, or are not those of the fingerprint ``content``.
        """
        captions = read_captions(
            self.path, column=self.column, split=self.split, config=self.config, revision=self.revision
        )
        present = fingerprint_captions(captions)
        if self.content not in (None, present):
            raise RecipeError(
                f"the captions in {self.path!r} have content {present!r}, not {self.content!r} that is asked for; "
                "take the same captions, or leave content out"
            )
        return captions


class CaptionPrompts(CaptionSettings):
    """Captions as they stand."""

    kind: Literal["captions"] = "captions"


class RetrievalPrompts(CaptionSettings):
    """The captions nearest to each class, after the filters of the paper.

    Kept are captions of at most ``max_words`` words that name the class among the ``first_words`` and hold none of
    ``stop_words`` but those that the class itself is called by; of these the best ``per_class``, by BM25, or by the text
    embeddings of the transformers checkpoint ``encoder`` (``encoder_revision`` is filled when the recipe is prepared).
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("encoder", "encoder_revision", TEXT_MODEL),)

    kind: Literal["retrieval"] = "retrieval"
    per_class: int = Field(100, gt=0)
    max_words: int = Field(50, gt=0)
    first_words: int = Field(10, gt=0)
    stop_words: Texts = STOP_WORDS
    encoder: str | None = None
    encoder_revision: str | None = None

    @field_validator("stop_words")
    @classmethod
    def _small_letters(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.lower() for word in words)

    def identity(self) -> dict[str, Any]:
        """With the version of the method."""
        return {**super().identity(), "retrieval": RETRIEVAL}


class LanguageModelPrompts(Settings):
    """A causal language model of transformers goes on from ``lead``; the class terms stand in the lead and survive.

    ``model`` is a folder or Hub id; ``revision`` is filled when the recipe is prepared. Sampling is by ``temperature``
    among the ``top_k`` likeliest tokens; a caption ends at the end of its sentence or after ``max_words`` words.
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("model", "revision", TEXT_MODEL),)

    kind: Literal["language_model"] = "language_model"
    model: str
    revision: str | None = None
    lead: Text = f"a photo of {PLACE}"
    max_words: int = Field(25, gt=0, le=60)
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(50, gt=0)

    @field_validator("lead")
    @classmethod
    def _one_place(cls, lead: str) -> str:
        if lead.count(PLACE) != 1:
            raise ValueError(f"the lead {lead!r} needs {PLACE} exactly once")
        return lead


def _as_settings(value: Any) -> Any:
    value = {"kind": value} if isinstance(value, str) else value
    if not isinstance(value, (Mapping, Settings)):
        raise ValueError("expected a text or a mapping")
    if isinstance(value, Mapping) and isinstance(kind := value.get("kind"), str):
        PROMPT_SOURCES.check(kind)
    return value


_WITH_SETTINGS = ("templates", "sub_classes", "captions", "retrieval", "language_model")
"""Sources that have a class of settings; the parameters of others are a :class:`Choice`."""


def _tag(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else value.kind
    if not isinstance(kind, str):
        return None
    return kind if kind in _WITH_SETTINGS else "plain"


PromptSettings = Annotated[
    Annotated[TemplatePrompts, Tag("templates")]
    | Annotated[SubClassPrompts, Tag("sub_classes")]
    | Annotated[CaptionPrompts, Tag("captions")]
    | Annotated[RetrievalPrompts, Tag("retrieval")]
    | Annotated[LanguageModelPrompts, Tag("language_model")]
    | Annotated[Choice, Tag("plain")],
    Discriminator(_tag),
    BeforeValidator(_as_settings),
]
"""One of the prompt sources; its ``kind`` alone, as text, takes the defaults."""
