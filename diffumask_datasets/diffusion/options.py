"""What a recipe says about loading a model, apart from its name. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffumask_datasets.diffusion.revision import fingerprint, hub_commit
from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.fingerprint import file_fingerprint

if TYPE_CHECKING:
    from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["PLAIN", "LoadOptions", "resolve_checkpoint", "resolve_lora"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded.

    ``variant`` of the weight files ("fp16"); ``checkpoint``, a single safetensors file in the layout of its authors, has the
    weights, and the model only says what they belong to; ``lora``, a safetensors file, a folder or a Hub id, at the commit
    ``lora_revision``, is merged into the weights; ``scheduler`` is a class of diffusers that takes the place of the
    model's own; ``pickle_weights`` also reads ``.bin`` files, which can run any code.
    """

    variant: str | None = None
    checkpoint: str | None = None
    lora: str | None = None
    lora_revision: str | None = None
    scheduler: str | None = None
    pickle_weights: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> LoadOptions:
        """Those of a recipe."""
        return cls(
            variant=recipe.variant,
            checkpoint=recipe.checkpoint,
            lora=recipe.lora,
            lora_revision=recipe.lora_revision,
            scheduler=recipe.scheduler,
            pickle_weights=recipe.pickle_weights,
        )


PLAIN = LoadOptions()
"""The model as it is."""


def resolve_lora(lora: str | None, revision: str | None = None) -> str | None:
    """The identity of a LoRA's content: a fingerprint of its file or folder, or the commit of a Hub repository.

    Raises:
        ModelError: there is none, or ``revision`` names another content than is there.
    """
    if lora is None:
        return None
    path = Path(lora).expanduser()
    if not path.exists():
        if lora.startswith((".", "/", "~")) or lora.count("/") != 1:
            raise ModelError(f"no LoRA {lora!r}: give a safetensors file, a folder or a Hub id owner/name")
        return hub_commit(lora, revision)
    present = fingerprint(path) if path.is_dir() else file_fingerprint(path)
    if revision not in (None, present):
        raise ModelError(f"the LoRA {lora!r} has content {present!r}, not the revision {revision!r} that is asked for")
    return present


def resolve_checkpoint(checkpoint: str | None, revision: str | None = None) -> str | None:
    """The identity of a single-file checkpoint's content.

    Raises:
        ModelError: there is none, it is no safetensors file, or ``revision`` names another content than it has.
    """
    if checkpoint is None:
        return None
    path = Path(checkpoint).expanduser()
    if path.suffix != ".safetensors":
        raise ModelError(f"the checkpoint {checkpoint!r} is no .safetensors file; pickled ones can run any code")
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {checkpoint!r}: give a .safetensors file on this machine")
    present = file_fingerprint(path)
    if revision not in (None, present):
        raise ModelError(f"the checkpoint {checkpoint!r} has content {present!r}, not {revision!r} that is asked for")
    return present
