"""The augmentations that a recipe, a transform or a command may name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.base import Settings, first_problem

__all__ = [
    "GRIDS",
    "AugmentSettings",
    "Blur",
    "Occlude",
    "Perspective",
    "Splice",
    "check_grids",
    "grid_size",
    "parse_augment",
]

GRIDS = ("1x2", "2x1", "2x2", "3x3", "5x5", "8x8")
"""Grids of splicing, rows × columns."""

SMALLEST_TILE = 4
"""Pixels a side: less shows nothing."""


class _Step(Settings):
    """``probability`` is the share of samples that the step changes."""

    probability: float = Field(1.0, gt=0, le=1)


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


def _from_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    kind, colon, grid = value.partition(":")
    return {"kind": kind, "grid": grid} if colon else {"kind": kind}


AugmentSettings = Annotated[
    Splice | Blur | Occlude | Perspective, Field(discriminator="kind"), BeforeValidator(_from_text)
]
"""One augmentation; as text its kind, for splicing with the grid: ``"splice:2x2"``, ``"blur"``."""

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
        legal = "splice, splice:2x2 (" + ", ".join(GRIDS) + "), blur, occlude, perspective"
        raise RecipeError(f"augment: {first_problem(error)}; legal: {legal}") from None
    if not steps:
        raise RecipeError("augment: name at least one augmentation, e.g. splice:2x2")
    return steps


def grid_size(grid: str) -> tuple[int, int]:
    """(rows, columns) of a grid."""
    rows, columns = grid.split("x")
    return int(rows), int(columns)


def check_grids(steps: Iterable[AugmentSettings], *, height: int, width: int) -> None:
    """Raises RecipeError for a grid whose tiles would be under 4 pixels a side."""
    for step in steps:
        if isinstance(step, Splice) and step.grid and not step.native_size and not fits(step.grid, height, width):
            rows, columns = grid_size(step.grid)
            raise RecipeError(
                f"augment: the grid {step.grid} is too large for an image of {height}x{width} pixels (height x width): it "
                f"needs {rows * SMALLEST_TILE}x{columns * SMALLEST_TILE}; take a smaller grid or native_size"
            )


def fits(grid: str, height: int, width: int) -> bool:
    """Whether every tile has at least 4 pixels a side."""
    rows, columns = grid_size(grid)
    return height >= rows * SMALLEST_TILE and width >= columns * SMALLEST_TILE
