"""From the name of a model to the backbone that paints with it. Imports no torch until a model is loaded."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from diffumask_datasets.backbones.revision import INDEX, fingerprint, hub_index, local_folder, pipeline_class
from diffumask_datasets.errors import ModelError
from diffumask_datasets.toybox import world

if TYPE_CHECKING:
    from diffumask_datasets.backbones.protocol import Backbone

__all__ = ["FamilyLoader", "known_classes", "load_backbone", "model_folder", "register_family", "resolve_revision"]

PLANTED_REVISION = "planted-1"
"""Raised whenever the planted double paints other bytes than before."""


class FamilyLoader(Protocol):
    """Makes the backbone of one model family."""

    def __call__(self, model: str, *, revision: str | None, device: str | None, dtype: str | None) -> Backbone:
        """Loads the pipeline ``model``, a folder or Hub id; None means the family's default."""


# As text, so that no family is imported before it is needed.
_FAMILIES: dict[str, FamilyLoader | str] = {
    "StableDiffusionPipeline": "diffumask_datasets.backbones.unet:UNetBackbone.load",
}


def register_family(pipeline: str, loader: FamilyLoader | str) -> None:
    """Makes ``loader`` responsible for models whose ``model_index.json`` names the class ``pipeline``.

    ``loader`` may be text, ``"package.module:attribute"``, and is then imported when first needed.
    """
    _FAMILIES[pipeline] = loader


def load_backbone(
    model: str, *, revision: str | None = None, device: str | None = None, dtype: str | None = None
) -> Backbone:
    """The backbone of ``"toybox"``, ``"planted"`` (a test double), a local folder or a Hub id ``owner/name``.

    ``revision`` is that of a Hub model, and what :func:`resolve_revision` gave for the others.

    Raises:
        ModelError: no such model, not a diffusers pipeline, of a family that nobody registered, or not loadable.
    """
    if model == "planted":
        from diffumask_datasets.backbones.planted import PlantedBackbone

        return PlantedBackbone.from_environment()
    folder = model_folder(model)
    index = folder / INDEX if folder else hub_index(model, revision)
    load = _family(model, pipeline_class(index))
    if folder:
        return load(str(folder), revision=None, device=device, dtype=dtype)
    return load(model, revision=revision, device=device, dtype=dtype)


def resolve_revision(model: str, revision: str | None = None) -> str:
    """The identity of the model's content: a fingerprint of a folder, the commit of a Hub model.

    Raises:
        ModelError: no such model, not a diffusers pipeline, or ``revision`` names another content than is there.
    """
    folder = None if model == "planted" else model_folder(model)
    if model != "planted" and folder is None:
        return hub_index(model, revision).parent.name
    present = fingerprint(folder) if folder else PLANTED_REVISION
    if revision not in (None, present):
        raise ModelError(
            f"the model {model!r} has content {present!r}, not the revision {revision!r} that is asked for; "
            "take the same version of the package or folder, or leave revision out"
        )
    return present


def known_classes(model: str) -> tuple[str, ...] | None:
    """The classes that a model of a closed world can paint, or None where any name may be tried."""
    return world.CLASS_NAMES if model == "toybox" else None


def model_folder(model: str) -> Path | None:
    """The folder of ``"toybox"`` or of a local model, None where ``model`` can only be a Hub id."""
    return local_folder(str(Path(world.__file__).parent / "weights") if model == "toybox" else model)


def _family(model: str, pipeline: str) -> FamilyLoader:
    loader = _FAMILIES.get(pipeline)
    if loader is None:
        raise ModelError(
            f"the model {model!r} is a {pipeline}, a family nobody registered (known: {', '.join(sorted(_FAMILIES))}); "
            "register it with diffumask_datasets.backbones.registry.register_family"
        )
    if isinstance(loader, str):
        resolved: FamilyLoader = pkgutil.resolve_name(loader)
        return resolved
    return loader
