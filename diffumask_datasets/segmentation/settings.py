"""What decides a training: where the labelled images come from, which model, how long. One YAML file is one experiment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import AugmentSettings
from diffumask_datasets.recipes.base import check_fields, first_problem
from diffumask_datasets.recipes.file import read_mapping, read_recipe_file

__all__ = [
    "LAYOUTS",
    "EvaluationSettings",
    "Source",
    "TrainingSettings",
    "read_experiment",
    "source_of_text",
]

LAYOUTS = ("voc", "cityscapes", "ade20k", "folder")
"""Datasets on disk that are read as their authors publish them."""

_NOTES = ("name", "about", "paper", "run")
"""Fields of an experiment file that are for its reader alone."""


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """The settings of these fields; one that is None takes its default.

        Raises:
            RecipeError: an unknown field or an illegal value.
        """
        check_fields(fields, cls.model_fields)
        try:
            return cls(**{name: value for name, value in fields.items() if value is not None})
        except ValidationError as error:
            raise RecipeError(first_problem(error)) from None


class Source(_Fields):
    """Labelled images from one place; exactly one of ``dataset``, ``generate`` and ``layout`` names it.

    ``dataset`` is a dataset folder, a URL, a Hub id or ``toybox-rendered``; ``generate`` holds the fields of
    ``load_dataset("diffumask", …)``; ``layout`` with ``root`` is one of :data:`LAYOUTS`. ``stream`` reads without storing:
    with ``generate``, images are generated while the model trains. ``weight`` is the share in a mixture, ``first`` and
    ``limit`` cut out a range of rows. ``rename`` gives a class of this source another name (several may share one), and
    ``others`` says what becomes of its classes that the model does not have.
    """

    dataset: str | None = None
    config: str | None = None
    generate: dict[str, Any] | None = None
    layout: Literal["voc", "cityscapes", "ade20k", "folder"] | None = None
    root: str | None = None
    split: str | None = None
    stream: bool = False
    weight: float = Field(1.0, gt=0)
    first: int = Field(0, ge=0)
    limit: int | None = Field(None, gt=0)
    rename: dict[str, str] = {}
    others: Literal["error", "background", "ignore"] = "error"
    label_column: str = "label"

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        named = [name for name in ("dataset", "generate", "layout") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of dataset, generate and layout, not {', '.join(named) or 'none'}")
        if (self.layout is None) != (self.root is None):
            raise ValueError("layout and root go together, e.g. layout: voc, root: VOCdevkit/VOC2012")
        return self

    def __str__(self) -> str:
        return self.dataset or (f"{self.layout} {self.root}" if self.layout else "generated images")


class TrainingSettings(_Fields):
    """One training. Without ``height`` and ``width`` the size is that of the first image; without ``learning_rate`` it is
    what suits the model.

    ``model`` is a small model from scratch (``segformer-small``, ``mask2former-small``, ``upernet-small``), a Hub id or a
    local folder; ``model_options`` change its config and ``from_scratch`` drops its weights. One step sees
    ``batch_size`` × ``accumulate`` images. ``augment`` are steps as in a recipe, drawn anew each time an image is seen;
    then ``scale`` is the range of a random resize before a crop to size, ``flip`` mirrors every other image, and ``colour``
    says how far brightness, contrast and hue vary (0.3 is much). ``warmup`` is a share of ``steps``.

    Raises:
        RecipeError: an unknown field or an illegal value (through :meth:`of`).
    """

    sources: tuple[Source, ...]
    classes: tuple[str, ...] | None = None
    model: str = "segformer-small"
    from_scratch: bool = False
    model_options: dict[str, Any] = {}
    height: int | None = Field(None, ge=32, le=4096)
    width: int | None = Field(None, ge=32, le=4096)
    steps: int = Field(1000, gt=0)
    batch_size: int = Field(16, gt=0)
    accumulate: int = Field(1, gt=0)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    schedule: Literal["linear", "cosine", "polynomial", "constant_with_warmup"] = "cosine"
    augment: tuple[AugmentSettings, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = True
    colour: float = Field(0.0, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    checkpoint_every: int = Field(500, gt=0)
    log_every: int = Field(10, gt=0)

    @field_validator("sources")
    @classmethod
    def _some_sources(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if not sources:
            raise ValueError("name at least one dataset to train on, e.g. out/ds")
        return sources

    @field_validator("scale")
    @classmethod
    def _ordered_scale(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0.1 <= scale[0] <= scale[1] <= 10:
            raise ValueError("give [smallest, largest] with 0.1 <= smallest <= largest <= 10")
        return scale

    def digest_with(self, fingerprint: str) -> str:
        """Twelve hex digits of the settings and of the data they meet; a checkpoint is only taken up under the same."""
        fields = self.model_dump(mode="json", exclude={"checkpoint_every", "log_every"})
        content = json.dumps([fields, fingerprint], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class EvaluationSettings(_Fields):
    """On which real images a model is judged: ``benchmark`` at ``root`` (for ``dataset`` a folder, a Hub id or
    ``toybox-rendered``).

    ``rename`` gives classes of either side another name, e.g. person and rider: human. ``unseen`` are the classes whose
    real masks the model was not shown.
    """

    benchmark: Literal["voc", "cityscapes", "ade20k", "folder", "dataset"]
    root: str
    split: str | None = None
    rename: dict[str, str] = {}
    unseen: tuple[str, ...] = ()

    def source(self) -> Source:
        """The source that holds the images."""
        if self.benchmark == "dataset":
            return Source.of(dataset=self.root, split=self.split)
        return Source.of(layout=self.benchmark, root=self.root, split=self.split)


def source_of_text(text: str) -> dict[str, Any]:
    """The fields of a source as the command line names it.

    ``out/ds`` or a Hub id is a dataset, ``voc=ROOT`` a layout, ``recipe.yaml`` images that are generated while training.
    """
    layout, equals, root = text.partition("=")
    if equals and layout in LAYOUTS:
        return {"layout": layout, "root": root}
    if text.endswith((".yaml", ".yml")):
        fields = read_recipe_file(Path(text))
        sizes = ("splits", "num_samples")  # a stream goes on for as long as the training does
        return {"generate": {name: value for name, value in fields.items() if name not in sizes}, "stream": True}
    return {"dataset": text}


def read_experiment(path: Path) -> dict[str, Any]:
    """The fields of an experiment file without its notes, not yet validated: ``train`` and optionally ``evaluate``.

    Raises:
        RecipeError: the file is missing, no YAML, not a mapping, or has other fields.
    """
    fields = read_mapping(path, what="the experiment", example="train: {sources: [{dataset: out/ds}]}")
    check_fields(fields, [*_NOTES, "train", "evaluate"])
    if "train" not in fields:
        raise RecipeError(f"{path}: no field 'train', which holds the settings of the training")
    parts = {name: value for name, value in fields.items() if name not in _NOTES}
    for name, value in parts.items():
        if not isinstance(value, dict):
            raise RecipeError(f"{path}: {name}: expected fields like 'steps: 1000', got {value!r}")
    return parts
