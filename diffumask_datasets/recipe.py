"""The recipe: every field that decides the content of a dataset, validated, with a stable digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.sample import MAX_CLASS_ID

__all__ = ["ALGORITHM", "CaptureSettings", "LoadSettings", "MaskSettings", "PaintSettings", "Recipe", "check_fields"]

ALGORITHM = 1
"""Raised whenever the same recipe would give other bytes than before."""

DEFAULT_PROMPTS = ("a photo of {classes}",)

_MODEL_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "toybox": {
        "height": 128,
        "width": 128,
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "attention_grids": (16,),
        "attention_timesteps": (50, 450),
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


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class LoadSettings(_Settings):
    """How the model is loaded, apart from its name.

    ``variant`` of the weight files ("fp16"); ``lora``, a safetensors file, folder or Hub id, is merged into the weights
    and ``lora_revision`` pins its content; ``scheduler`` names a class of diffusers in place of the model's own;
    ``pickle_weights`` also reads ``.bin`` files, which can run any code.
    """

    variant: str | None = None
    lora: str | None = None
    lora_revision: str | None = None
    scheduler: str | None = None
    pickle_weights: bool = False


class PaintSettings(_Settings):
    """How an image is painted. Sizes in pixels."""

    height: int = Field(512, gt=0, le=4096)
    width: int = Field(512, gt=0, le=4096)
    num_inference_steps: int = Field(50, gt=0, le=1000)
    guidance_scale: float = Field(7.5, ge=0)
    negative_prompt: str = ""


class CaptureSettings(_Settings):
    """Which cross-attention is read.

    ``attention_grids`` are the shorter sides, in tokens, of the layers' grids at a square image (16 means the
    16x16 layers); ``attention_timesteps`` is the inclusive range of training timesteps (0 clean, 1000 noise).
    """

    attention_grids: tuple[int, ...] = (16, 32, 64)
    attention_timesteps: tuple[int, int] = (0, 1000)

    @field_validator("attention_grids")
    @classmethod
    def _sorted_grids(cls, grids: tuple[int, ...]) -> tuple[int, ...]:
        if not grids or any(side <= 0 for side in grids):
            raise ValueError("name at least one grid, each a positive number of tokens, e.g. [16, 32]")
        return tuple(sorted(set(grids)))

    @field_validator("attention_timesteps")
    @classmethod
    def _ordered_timesteps(cls, timesteps: tuple[int, int]) -> tuple[int, int]:
        first, last = timesteps
        if not 0 <= first <= last <= 1000:
            raise ValueError("give [first, last] with 0 <= first <= last <= 1000")
        return timesteps


class MaskSettings(_Settings):
    """How heat maps become masks.

    ``threshold`` is γ in (0, 1), ``"otsu"`` or ``"adaptive"``; ``min_area`` is the smallest component kept, as a
    fraction of the image; pixels whose two best classes differ by less than ``ignore_margin`` become 255.
    """

    threshold: float | Literal["otsu", "adaptive"] = "adaptive"
    refinement: Literal["densecrf"] | None = "densecrf"
    min_area: float = Field(0.005, ge=0, lt=1)
    ignore_margin: float = Field(0.1, ge=0, lt=1)

    @field_validator("threshold")
    @classmethod
    def _threshold_in_range(cls, threshold: float | str) -> float | str:
        if isinstance(threshold, float) and not 0 < threshold < 1:
            raise ValueError("a fixed threshold lies between 0 and 1, ends excluded")
        return threshold


class Recipe(LoadSettings, PaintSettings, CaptureSettings, MaskSettings):
    """Everything that decides the content of a dataset: sample k depends on (recipe, k) alone.

    How many samples are wanted is not part of it, so a dataset can grow without changing what it has.

    Raises:
        RecipeError: an unknown field or an illegal value (through :meth:`of`).
    """

    classes: tuple[str, ...]
    classes_per_image: int = Field(1, gt=0)
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    model: str = "toybox"
    revision: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)

    @classmethod
    def of(cls, **fields: Any) -> Recipe:
        """The recipe of these fields; an omitted one, or None, takes the default of the model."""
        check_fields(fields, cls.model_fields)
        try:
            return cls(**{name: value for name, value in fields.items() if value is not None or name == "refinement"})
        except ValidationError as error:
            raise RecipeError(_first_problem(error)) from None

    @model_validator(mode="before")
    @classmethod
    def _fill_model_defaults(cls, fields: dict[str, Any]) -> dict[str, Any]:
        model = fields.get("model", "toybox")
        return {**_MODEL_DEFAULTS.get(model, _MODEL_DEFAULTS[""]), **fields}

    @field_validator("classes", "prompts", mode="before")
    @classmethod
    def _one_is_a_list(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @field_validator("classes")
    @classmethod
    def _legal_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(" ".join(name.split()) for name in classes)
        if not names or not all(names):
            raise ValueError("name at least one class, none of them empty, e.g. classes=['car', 'boat']")
        repeated = [name for name in names if sum(other.lower() == name.lower() for other in names) > 1]
        if repeated:
            raise ValueError(f"class {repeated[0]!r} is named twice")
        if len(names) > MAX_CLASS_ID:
            raise ValueError(f"{len(names)} classes; an 8-bit mask holds at most {MAX_CLASS_ID}")
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

    @property
    def digest(self) -> str:
        """Twelve hex digits that change when any field does; the start of every sample id.

        A pinned model is known by its revision alone, so that moving a local folder changes nothing.
        """
        # A loading field at its default leaves no trace: recipes from before it keep their digest.
        unset = {name for name, field in LoadSettings.model_fields.items() if getattr(self, name) == field.default}
        fields = self.model_dump(mode="json", exclude=unset | ({"lora"} if self.lora_revision else set()))
        if self.revision:
            del fields["model"]
        canonical = json.dumps({"algorithm": ALGORITHM, **fields}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def check_fields(fields: Iterable[str], legal: Iterable[str]) -> None:
    """Raises RecipeError, with the nearest legal name, for the first field that is not legal."""
    names = sorted(legal)
    for name in fields:
        if name not in names:
            raise RecipeError(f"unknown field {name!r}{suggestion(name, names)}; legal fields: {', '.join(names)}")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function", "literal")))
    message = problem["msg"].removeprefix("Value error, ")
    given = f" (given: {problem['input']!r})" if problem["loc"] else ""
    return f"{place}: {message}{given}" if place else message
