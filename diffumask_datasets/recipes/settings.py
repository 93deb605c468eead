"""The groups of recipe fields that concern the model: loading, generating, capture, masks, attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from diffumask_datasets.models.reference import AFFINITY_NET, CHECKPOINT, IMAGE_TEXT_MODEL, LORA
from diffumask_datasets.recipes.base import NOT_GIVEN, Pin, Settings
from diffumask_datasets.recipes.refinement_settings import RefinementSettings, SamRefinement
from diffumask_datasets.recipes.registry import THRESHOLDS, Choice

__all__ = ["COVERED", "PLAIN", "AttemptSettings", "CaptureSettings", "GenerateSettings", "LoadSettings", "MaskSettings"]


class LoadSettings(Settings):
    """How the model is loaded, apart from its name.

    ``variant`` of the weight files ("fp16"); ``checkpoint``, a single safetensors file, has the weights of a model that is
    built as ``model`` is, and ``checkpoint_revision`` pins its content; ``lora``, a safetensors file, folder or Hub id, is
    merged into the weights and ``lora_revision`` pins its content; ``scheduler`` names a class of diffusers in place of the
    model's own; ``pickle_weights`` also reads ``.bin`` files, which can run any code.
    """

    PINS: ClassVar[tuple[Pin, ...]] = (
        Pin("checkpoint", "checkpoint_revision", CHECKPOINT),
        Pin("lora", "lora_revision", LORA),
    )

    variant: str | None = None
    checkpoint: str | None = None
    checkpoint_revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None
    scheduler: str | None = None
    pickle_weights: bool = False


PLAIN = LoadSettings()
"""The model as it is."""


class GenerateSettings(Settings):
    """How an image is generated. Sizes in pixels; what is None suits the model once the recipe is prepared."""

    height: int = Field(NOT_GIVEN, gt=0, le=4096)
    width: int = Field(NOT_GIVEN, gt=0, le=4096)
    num_inference_steps: int = Field(NOT_GIVEN, gt=0, le=1000)
    guidance_scale: float = Field(NOT_GIVEN, ge=0)
    negative_prompt: str = ""


class CaptureSettings(Settings):
    """Which cross-attention is read.

    ``attention_grids`` are the shorter sides, in tokens, of the layers' grids: 16 means the 16x16 layers of a square image,
    None, once the recipe is prepared, those whose tokens have 8, 16 or 32 pixels a side. ``attention_layers`` narrows them
    to those whose name fits one of its patterns (``up_blocks.3.*``);
    ``attention_timesteps`` is the inclusive range of training timesteps (0 clean, 1000 noise).

    ``attention`` says how layers are weighed: ``"auto"``, by how well their maps agree with the image's self-attention,
    which needs no tuning, or ``"equal"``, every (layer, step) map alike, as DiffuMask does.

    ``attention_words`` are the words whose attention counts for a class: its ``"class"`` term, or the ``"phrase"`` of the
    term and the modifiers before it ("red car"), which generate it together.
    ``contrast`` sets a class's attention against that of other tokens: ``"start"`` divides it by the start token's,
    ``"words"`` takes its share of all words, ``"background"`` subtracts the mean of the words that name no class.
    ``competition`` > 0 lets the classes of an image share each pixel, the more one-sidedly the higher it is.
    ``affinity_power`` is how many steps the heat takes along the model's self-attention where ``affinity`` is
    ``"self-attention"``, on the grids ``affinity_grids`` (as above; None for the finest of at most 32).
    """

    attention: Literal["auto", "equal"] = "equal"
    attention_grids: tuple[int, ...] = NOT_GIVEN
    attention_layers: tuple[str, ...] = ()
    attention_timesteps: tuple[int, int] = (0, 1000)
    attention_words: Literal["class", "phrase"] = "class"
    contrast: Literal["start", "words", "background"] | None = None
    competition: float = Field(0.0, ge=0, le=64)
    affinity_power: int = Field(4, gt=0, le=64)
    affinity_grids: tuple[int, ...] | None = None

    @field_validator("attention_grids", "affinity_grids")
    @classmethod
    def _sorted_grids(cls, grids: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if grids is None:
            return None
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


COVERED: Mapping[str, Any] = {"competition": 0.0, "heat_normalization": None, "threshold": 0.5}
"""What suits scenes without background where a recipe says nothing: classes of 0.2 % to 60 % of an image.

Competition gives every class as much of it, and local levels and a γ of its own lift small classes over large ones.
"""


class MaskSettings(Settings):
    """How heat maps become masks.

    ``threshold`` is γ in (0, 1), ``"otsu"``, ``"adaptive"`` (training-free) or ``"affinity"`` (the paper's: the γ whose
    refined mask agrees best with the affinity mask). ``affinity`` spreads the heat before it is thresholded, or makes the
    affinity mask: ``"self-attention"`` of the model, or ``"affinitynet"``, the trained net in the file ``affinity_net``,
    whose content ``affinity_net_revision`` pins. ``heat_normalization`` divides each heat map by its local level before it
    is thresholded (:mod:`diffumask_datasets.masks.normalization`). ``refinement`` is a DenseCRF, with our parameters or
    with the paper's (``"densecrf-paper"``), a promptable segmenter (``"sam"``, with the fields of
    :class:`~diffumask_datasets.recipes.refinement_settings.SamRefinement`), or None. Thresholds and refinements of
    installed packages are named like ours; their parameters stand in a mapping, ``{"kind": NAME, …}``.
    ``unary`` is what refinement starts from: ``"soft"`` heat or ``"hard"`` labels. ``min_area`` is the smallest component
    kept, as a fraction of the image; pixels whose two best classes differ by less than ``ignore_margin`` become 255;
    ``split_touching`` parts objects of one class where they touch at a neck, or as the promptable segmenter sees them where
    that refines the masks. ``background`` is ``"rest"``, what no class reaches its γ on, or None where the classes of an
    image cover all of it, as sky, road and building do: then each pixel belongs to the class furthest above its γ, and
    components smaller than ``min_area`` become 255.
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("affinity_net", "affinity_net_revision", AFFINITY_NET),)

    threshold: float | str | Choice = "adaptive"
    affinity: Literal["self-attention", "affinitynet"] | None = None
    affinity_net: str | None = None
    affinity_net_revision: str | None = None
    heat_normalization: Literal["local"] | None = "local"
    refinement: RefinementSettings | None = "densecrf"
    unary: Literal["soft", "hard"] = "soft"
    split_touching: bool = True
    min_area: float = Field(0.005, ge=0, lt=1)
    ignore_margin: float = Field(0.1, ge=0, lt=1)
    background: Literal["rest"] | None = "rest"

    @model_validator(mode="after")
    def _affinity_is_named(self) -> MaskSettings:
        if self.threshold == "affinity" and self.affinity is None and "affinity" in self.model_fields_set:
            raise ValueError("threshold 'affinity' needs affinity='self-attention' or affinity='affinitynet'")
        if (self.affinity == "affinitynet") != (self.affinity_net is not None):
            raise ValueError("affinity 'affinitynet' and affinity_net='FILE' go together (diffumask train-affinity)")
        return self

    @field_validator("threshold", mode="before")
    @classmethod
    def _legal_threshold(cls, threshold: Any) -> Any:
        number = _as_number(threshold)
        if number is None:
            return THRESHOLDS.chosen(threshold)
        if not 0 < number < 1:
            raise ValueError("a fixed threshold lies between 0 and 1, ends excluded")
        return number

    def identity(self) -> dict[str, Any]:
        """As of all settings; a model that refines is known by its revision, too."""
        fields = super().identity()
        if isinstance(self.refinement, SamRefinement):
            fields["refinement"] = self.refinement.identity()
        return fields

    def pinned(self) -> Self:
        """A copy in which every model is pinned, that of the refinement too.

        Raises:
            ModelError: a model cannot be found, or does not have the content that it is pinned to.
        """
        pinned = super().pinned()
        if not isinstance(self.refinement, SamRefinement):
            return pinned
        return pinned.model_copy(update={"refinement": self.refinement.pinned()})


class AttemptSettings(Settings):
    """When a sample is generated again, with the next seed of its own index.

    A sample in which a prompted class has no mask, or whose quality is under ``min_quality``, is tried ``max_attempts``
    times in all; where none is good enough, the best of them stays, with its low quality.

    ``presence`` is an image-text model (CLIP, SigLIP), a folder or Hub id, whose content ``presence_revision`` pins. It is
    shown each class where its mask is; where it takes one for another class or for "background", ten to one, the quality of
    the sample is 0, and it is tried again.
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("presence", "presence_revision", IMAGE_TEXT_MODEL),)

    presence: str | None = None
    presence_revision: str | None = None
    min_quality: float = Field(0.0, ge=0, le=1)
    max_attempts: int = Field(1, gt=0, le=100)

    @model_validator(mode="after")
    def _judging_needs_attempts(self) -> AttemptSettings:
        if self.presence is not None and self.max_attempts == 1:
            raise ValueError(f"presence {self.presence!r} needs max_attempts of 2 or more, e.g. max_attempts=5")
        if self.min_quality > 0 and self.max_attempts == 1:
            raise ValueError(f"min_quality {self.min_quality} needs max_attempts of 2 or more, e.g. max_attempts=5")
        return self


def _as_number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except ValueError:
        return None
