"""The refinements that have more to say than a name."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from diffumask_datasets.models.reference import SEGMENTER
from diffumask_datasets.recipes.base import Pin
from diffumask_datasets.recipes.registry import REFINEMENTS, Choice

__all__ = ["RefinementSettings", "SamRefinement"]


class SamRefinement(Choice):
    """A promptable segmenter (SAM and its kin) that is prompted by the heat maps.

    ``model`` is a folder or Hub id of transformers' ``SamModel``, ``Sam2Model``, ``SamHQModel``, ``EdgeTamModel`` or
    ``Sam3TrackerModel``; ``revision`` is filled when the recipe is prepared. Each component of a class is one prompt:
    ``points`` in the hottest places, ``negatives`` in cold places and in other classes, the ``box`` around it, and its heat
    as ``mask``. What is found is erased and the rest asked again, ``rounds`` times in all. DenseCRF then starts from the
    answers; from the heat for objects that agree with it by less than ``min_agreement`` (IoU), or with the answer to the
    same prompt without ``mask`` by less than ``min_steadiness``: those merely repeat the heat.
    """

    PINS: ClassVar[tuple[Pin, ...]] = (Pin("model", "revision", SEGMENTER),)

    model_config = ConfigDict(extra="forbid")

    kind: Literal["sam"] = "sam"
    model: str = "facebook/sam2.1-hiera-tiny"
    revision: str | None = None
    points: int = Field(3, ge=1, le=16)
    negatives: int = Field(4, ge=0, le=16)
    box: bool = True
    mask: bool = True
    rounds: int = Field(2, ge=1, le=8)
    min_agreement: float = Field(0.6, ge=0, le=1)
    min_steadiness: float = Field(0.8, ge=0, le=1)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values by name."""
        return {name: value for name, value in self if name != "kind"}


def _chosen(value: Any) -> Any:
    chosen = REFINEMENTS.chosen(value)
    kind, parameters = (chosen, {}) if isinstance(chosen, str) else (chosen.kind, chosen.parameters)
    return {"kind": kind, **parameters} if kind == "sam" else chosen


def _tag(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    return "sam" if isinstance(value, (dict, SamRefinement)) else "plain"


RefinementSettings = Annotated[
    Annotated[SamRefinement, Tag("sam")] | Annotated[Choice, Tag("plain")] | Annotated[str, Tag("name")],
    Discriminator(_tag),
    BeforeValidator(_chosen),
]
"""One of the refinements: its name alone, or with its parameters."""
