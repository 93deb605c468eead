"""The base class of everything in a recipe: frozen, checked fields; and one clear line for a value that is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from typing_extensions import Self

from diffumask_datasets.errors import RecipeError, short_repr, suggestion
from diffumask_datasets.models.reference import ModelKind
from diffumask_datasets.recipes.text import normalise

__all__ = ["NOT_GIVEN", "Pin", "Settings", "Text", "Texts", "check_fields", "first_problem", "one_line_errors"]


NOT_GIVEN: Any = None
"""The value of a field that depends on the model, until the recipe is prepared."""


class Pin(NamedTuple):
    """A field that names a model or file, the field whose revision pins the content, and what may be named."""

    name: str
    revision: str
    kind: ModelKind


class Settings(BaseModel):
    """Frozen fields, unknown ones refused. ``PINS`` are those that name models."""

    PINS: ClassVar[tuple[Pin, ...]] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """The fields that decide content: what a digest is made of.

        A pinned model is known by its revision alone, so that moving a file or folder changes nothing.
        """
        return self.model_dump(mode="json", exclude={pin.name for pin in self.PINS if getattr(self, pin.revision)})

    def pinned(self) -> Self:
        """A copy in which every model is pinned to its current content.

        Raises:
            ModelError: a model cannot be found, or does not have the content that it is pinned to.
        """
        named = [pin for pin in self.PINS if getattr(self, pin.name) is not None]
        references = {
            pin.revision: pin.kind.named(getattr(self, pin.name), getattr(self, pin.revision)) for pin in named
        }
        return self.model_copy(update={field: reference.resolve() for field, reference in references.items()})

    @classmethod
    def subset_of(cls, whole: Settings) -> Self:
        """The fields of this class, of settings that have more."""
        return cls(**{name: getattr(whole, name) for name in cls.model_fields})


def check_fields(fields: Iterable[str], legal: Iterable[str], *, where: str = "") -> None:
    """Refuses the first field that is not legal.

    Args:
        fields: Names of fields.
        legal: Names that are allowed.
        where: What has these fields, for messages.

    Raises:
        RecipeError: A field is not legal; names the nearest that is.
    """
    names = sorted(legal)
    for name in fields:
        if name not in names:
            problem = f"unknown field {name!r}{suggestion(str(name), names)}; legal fields: {', '.join(names)}"
            raise RecipeError(f"{where}: {problem}" if where else problem)


@contextmanager
def one_line_errors(where: str = "") -> Iterator[None]:
    """Within the block, a failed validation is a RecipeError of one line, ``where`` before it."""
    try:
        yield
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_problem(error)}" if where else first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation in one line: where, what is expected, what was given."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function", "literal")))
    kind, context = problem["type"], problem.get("ctx", {})
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "union_tag_not_found":
        message = "name its kind"
    if kind == "union_tag_invalid":
        message = f"unknown kind {context['tag']!r}; there are: {context['expected_tags']}"
    if kind == "model_attributes_type":
        message = "expected a text or a mapping"
    if kind == "tuple_type":
        message = "expected a list"
    # What lacks a field would be shown in full.
    given = "" if kind == "missing" or not problem["loc"] else f" (given: {short_repr(problem['input'])})"
    return f"{place}: {message}{given}" if place else f"{message}{given}"


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(normalise)]
"""A text that goes into prompts, or is compared with them."""

Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_list)]
"""Several of them; one may stand alone."""
