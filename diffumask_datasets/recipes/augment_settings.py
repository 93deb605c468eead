"""The augmentations that a recipe, a transform or a command may name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator, model_validator

from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.recipes.base import Settings, first_problem
from diffumask_datasets.recipes.grids import GRIDS, SMALLEST_TILE, fits, grid_size

__all__ = [
    "OTHERS",
    "AugmentSettings",
    "Blur",
    "Compose",
    "Occlude",
    "Perspective",
    "Splice",
    "check_grids",
    "check_named_classes",
    "knows_hidden_parts",
    "needs_others",
    "parse_augment",
    "with_known",
    "with_sizes",
]

OTHERS = "*"
"""In the sizes of a composition: every class that is not named."""

_LATER = ("stuff",)
"""Fields of a composition that count in a digest only where they differ from their default."""


class _Step(Settings):
    """``probability`` is the share of samples that the step changes."""

    probability: float = Field(1.0, gt=0, le=1)


def _from_mapping(value: Any) -> Any:
    """{name: [smallest, largest]} as (name, smallest, largest)."""
    if not isinstance(value, Mapping):
        return value
    return tuple(
        (name, *limits) if isinstance(limits, (list, tuple)) else (name, limits) for name, limits in value.items()
    )


class Splice(_Step):
    """Samples side by side on a ``grid`` (rows × columns; None draws one of those that fit).

    Tiles are resized so that the result keeps the size of the sample; with ``native_size`` it grows instead.
    """

    kind: Literal["splice"] = "splice"
    grid: Literal["1x2", "2x1", "2x2", "3x3", "5x5", "8x8"] | None = None
    native_size: bool = False


class Blur(_Step):
    """Gaussian blur of the image; ``kernel`` is the range of kernel sizes in pixels (the paper's, for 512x512)."""

    kind: Literal["blur"] = "blur"
    kernel: tuple[float, float] = (6.0, 22.0)

    @field_validator("kernel")
    @classmethod
    def _ordered(cls, kernel: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= kernel[0] <= kernel[1]:
            raise ValueError("give [smallest, largest] with 1 <= smallest <= largest")
        return kernel


class Occlude(_Step):
    """Patches of other samples pasted over this one, with their masks.

    ``patches`` is the range of how many, ``size`` that of their sides as fractions of the image's.
    """

    kind: Literal["occlude"] = "occlude"
    patches: tuple[int, int] = (1, 3)
    size: tuple[float, float] = (0.1, 0.3)

    @field_validator("patches", "size")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] <= limits[1]:
            raise ValueError("give [smallest, largest] with 0 < smallest <= largest")
        return limits

    @field_validator("size")
    @classmethod
    def _fraction(cls, size: tuple[float, float]) -> tuple[float, float]:
        if size[1] > 1:
            raise ValueError("a patch is at most as large as the image: fractions up to 1")
        return size


class Perspective(_Step):
    """The image seen from another place: each corner moves inwards by up to ``distortion`` / 2 of the side."""

    kind: Literal["perspective"] = "perspective"
    distortion: float = Field(0.4, gt=0, lt=1)


class Compose(_Step):
    """Objects cut out of other samples and pasted over the image, with exact instances.

    Attributes:
        objects: Range of how many objects the result holds, its own included; fewer where no more fit.
        scale: Range of the factor by which a cut-out changes its size.
        sizes: (class, smallest, largest): sizes in place of ``scale``, as the square root of the share of the image that
            the object covers. May be given as a mapping; :data:`OTHERS` stands for all that are not named.
        co_occurrence: (class, other, weight) as in a recipe, and by default the recipe's own.
        min_visible: Share of each object that the objects over it leave visible.
        min_quality: Samples of lower quality lend no objects.
        mirror: Whether half of the cut-outs are mirrored.
        blend: ``"hard"`` edges, ``"soft"`` ones, or soft ones with light and sharpness ``"matched"`` to the surroundings.
        lift: Whether the sample's own objects are lifted off and pasted anew; what was behind them is filled in.
        backgrounds: Folder of photographs to paste on, in place of the samples themselves. They count as background
            throughout, so they must show none of the classes.
        backgrounds_revision: Pins the content of that folder.
        stuff: Classes that are never cut out nor counted, and may be covered as a whole, such as road and sky; by default
            those of the recipe.
    """

    kind: Literal["compose"] = "compose"
    objects: tuple[int, int] = (3, 6)
    scale: tuple[float, float] = (0.4, 0.7)
    sizes: Annotated[tuple[tuple[str, float, float], ...], BeforeValidator(_from_mapping)] = ()
    co_occurrence: tuple[tuple[str, str, float], ...] = ()
    min_visible: float = Field(0.7, gt=0, le=1)
    min_quality: float = Field(0.5, ge=0, le=1)
    mirror: bool = True
    blend: Literal["hard", "soft", "matched"] = "soft"
    lift: bool = False
    backgrounds: str | None = None
    backgrounds_revision: str | None = None
    stuff: tuple[str, ...] = ()

    @field_validator("objects", "scale")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] <= limits[1]:
            raise ValueError("give [smallest, largest] with 0 < smallest <= largest")
        return limits

    @field_validator("sizes")
    @classmethod
    def _legal_sizes(cls, sizes: tuple[tuple[str, float, float], ...]) -> tuple[tuple[str, float, float], ...]:
        for name, smallest, largest in sizes:
            if not 0 < smallest <= largest <= 1:
                raise ValueError(f"{name}: give [smallest, largest] with 0 < smallest <= largest <= 1")
        return sizes

    @model_validator(mode="after")
    def _objects_fit(self) -> Compose:
        ranges = [(smallest, name) for name, smallest, _ in self.sizes]
        if ranges and self.objects[0] * min(ranges)[0] ** 2 * self.min_visible > 1:
            raise ValueError(
                f"{self.objects[0]} objects of at least {min(ranges)[0]:g} of the image's side do not fit with "
                f"{self.min_visible:.0%} of each visible; take fewer or smaller ones"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that decide content; a pinned folder is known by its content alone."""
        fields = super().identity()
        for name in _LATER:
            if getattr(self, name) == type(self).model_fields[name].default:
                del fields[name]
        return {**fields, "backgrounds": None} if self.backgrounds_revision else fields


def _from_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kind, colon, text = value.partition(":")
    if kind == "compose" and colon:
        smallest, dash, largest = text.partition("-")
        return {"kind": kind, "objects": (smallest, largest if dash else smallest)}
    return {"kind": kind, "grid": text} if colon else {"kind": kind}


AugmentSettings = Annotated[
    Splice | Blur | Occlude | Perspective | Compose, Field(discriminator="kind"), BeforeValidator(_from_text)
]
"""One augmentation. As text its kind, with the grid of a splice or the objects of a composition: ``"splice:2x2"``,
``"compose:4-8"``, ``"blur"``."""

_STEPS: TypeAdapter[tuple[AugmentSettings, ...]] = TypeAdapter(tuple[AugmentSettings, ...])


def parse_augment(values: Any) -> tuple[AugmentSettings, ...]:
    """The augmentations of texts or mappings, one or several, in order.

    Raises:
        RecipeError: an unknown kind, grid or field, or an illegal value.
    """
    one = isinstance(values, (str, dict, Settings))
    try:
        steps = _STEPS.validate_python((values,) if one else values)
    except ValidationError as error:
        legal = "splice, splice:2x2 (" + ", ".join(GRIDS) + "), blur, occlude, perspective, compose, compose:4-8"
        raise RecipeError(f"augment: {first_problem(error)}; legal: {legal}") from None
    if not steps:
        raise RecipeError("augment: name at least one augmentation, e.g. splice:2x2")
    return steps


def needs_others(steps: Iterable[AugmentSettings]) -> bool:
    """Whether any of the steps takes pixels from other samples."""
    return any(isinstance(step, Splice | Occlude | Compose) for step in steps)


def fewest_objects(steps: Sequence[AugmentSettings]) -> int:
    """How many objects every image holds after the steps, where so many fit; 0 where nothing asks for any."""
    last = steps[-1] if steps else None
    return last.objects[0] if isinstance(last, Compose) and last.probability == 1 else 0


def knows_hidden_parts(steps: Iterable[AugmentSettings]) -> bool:
    """Whether it is known, after the steps, what objects hide of each other: a composition is the last that moves pixels."""
    moving = [step for step in steps if not isinstance(step, Blur)]
    return bool(moving) and isinstance(moving[-1], Compose)


def with_sizes(
    steps: Iterable[AugmentSettings], sizes: Mapping[str, tuple[float, float]]
) -> tuple[AugmentSettings, ...]:
    """The steps with ``sizes`` by class in the compositions that have none of their own."""
    counted = tuple((name, *limits) for name, limits in sizes.items())
    return tuple(
        step.model_copy(update={"sizes": counted}) if isinstance(step, Compose) and not step.sizes else step
        for step in steps
    )


def with_known(
    steps: Iterable[AugmentSettings], *, co_occurrence: tuple[tuple[str, str, float], ...], stuff: tuple[str, ...]
) -> tuple[AugmentSettings, ...]:
    """Tells compositions what a recipe knows, as far as they do not say it themselves.

    Args:
        steps: The augmentations.
        co_occurrence: That of the recipe.
        stuff: That of the recipe.

    Returns:
        The steps.
    """
    return tuple(
        step.model_copy(update={"co_occurrence": step.co_occurrence or co_occurrence, "stuff": step.stuff or stuff})
        if isinstance(step, Compose)
        else step
        for step in steps
    )


def check_named_classes(steps: Iterable[AugmentSettings], classes: Sequence[str]) -> None:
    """Raises RecipeError where a composition names what is none of the classes."""
    for step in steps:
        named = [*step.sizes, *step.co_occurrence, step.stuff] if isinstance(step, Compose) else []
        for name in [name for entry in named for name in entry if isinstance(name, str)]:
            if name not in (*classes, OTHERS):
                raise RecipeError(
                    f"augment: compose names the class {name!r}{suggestion(name, classes)}; there are: "
                    f"{', '.join(classes) or 'none (give classes=)'}"
                )


def check_grids(steps: Iterable[AugmentSettings], *, height: int, width: int) -> None:
    """Checks that grids fit an image.

    Args:
        steps: The augmentations.
        height: Height of the image.
        width: Width of the image.

    Raises:
        RecipeError: Tiles of one would be under 4 pixels a side.
    """
    for step in steps:
        if isinstance(step, Splice) and step.grid and not step.native_size and not fits(step.grid, height, width):
            rows, columns = grid_size(step.grid)
            raise RecipeError(
                f"augment: the grid {step.grid} is too large for an image of {height}x{width} pixels (height x width): it "
                f"needs {rows * SMALLEST_TILE}x{columns * SMALLEST_TILE}; take a smaller grid or native_size"
            )
