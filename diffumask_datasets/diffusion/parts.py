"""The networks of a pipeline, each loaded by itself so that its weights can be checked; they are most of the pipeline."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ModelMixin
from safetensors import SafetensorError
from transformers import PreTrainedModel

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.weights import load_whole
from diffumask_datasets.recipes.settings import LoadSettings

__all__ = ["DTYPE_OPTION", "check_placed", "has_weights", "load_part", "load_parts", "part_classes", "pickles_alone"]

DTYPE_OPTION = "dtype" if tuple(map(int, diffusers.__version__.split(".")[:2])) >= (0, 40) else "torch_dtype"
"""What diffusers calls the precision; transformers always says dtype."""


def part_classes(pipeline: type, index: Mapping[str, Any]) -> dict[str, type[torch.nn.Module]]:
    """The class of each network that an index gives to ``pipeline``, by the name that it has there.

    Raises:
        ModelError: a part is neither of diffusers nor of transformers.
    """
    taken = inspect.signature(pipeline.__init__).parameters  # type: ignore[misc]
    found = {}
    for name, entry in index.items():
        match entry:
            case [str() as library, str() as kind] if name in taken:
                found[name] = _class(name, library, kind)
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, (PreTrainedModel, ModelMixin))
    }


def load_parts(
    classes: Mapping[str, type], folder: Path, *, precision: torch.dtype, options: LoadSettings
) -> dict[str, torch.nn.Module]:
    """Loads all networks of a pipeline.

    Args:
        classes: Name → class of each network.
        folder: The folder of the pipeline.
        precision: The dtype of the weights.
        options: Variant and form of the weights.

    Returns:
        Name → network.

    Raises:
        ModelError: Weights are missing in a file, have another shape or cannot be read, or no network has the variant.
    """
    if options.variant and not any(_has_variant(folder / name, options.variant) for name in classes):
        raise ModelError(f"it has no weights of the variant {options.variant!r}; leave variant out")
    return {name: load_part(name, kind, folder, precision=precision, options=options) for name, kind in classes.items()}


def check_placed(pipeline: Any, parts: Collection[str]) -> Any:
    """The pipeline, if ``parts`` names all its networks.

    Raises:
        ModelError: one is of a kind whose weights were not checked.
    """
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module) and name not in parts:
            raise ModelError(f"the {name}, a {type(part).__name__}, cannot be checked for missing weights")
    return pipeline


def _class(name: str, library: str, kind: str) -> Any:
    """What the index calls ``kind``. diffusers would import whatever ``library`` names, or run a file of the model."""
    if library in ("diffusers", "transformers"):
        return getattr(importlib.import_module(library), kind, None)
    if library in dir(diffusers.pipelines):
        return getattr(getattr(diffusers.pipelines, library), kind, None)
    raise ModelError(
        f"the {name} of the model is {library}.{kind}, neither of diffusers nor of transformers: it is not run"
    )


def load_part(name: str, kind: Any, folder: Path, *, precision: torch.dtype, options: LoadSettings) -> Any:
    """Loads one network of a pipeline.

    Args:
        name: Its name.
        kind: Its class.
        folder: The folder of the pipeline.
        precision: The dtype of the weights.
        options: Variant and form of the weights.

    Returns:
        The network.

    Raises:
        ModelError: As :func:`load_parts`.
    """
    subfolder = folder / name if (folder / name).is_dir() else folder
    how: dict[str, Any] = {"dtype" if issubclass(kind, PreTrainedModel) else DTYPE_OPTION: precision}
    if options.variant and _has_variant(subfolder, options.variant):
        how["variant"] = options.variant
    if not options.pickle_weights:
        _refuse_pickles(name, subfolder)
    try:
        # None takes pickles where there is nothing else.
        safe = None if options.pickle_weights else True
        return load_whole(kind, str(subfolder), what=f"the {name}", use_safetensors=safe, low_cpu_mem_usage=True, **how)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"cannot load the {name}: {reason}") from error


def pickles_alone(what: str) -> str:
    """The message about weights that could only be read as pickles."""
    return (
        f"{what} has pickled weights alone, which can run any code; where the model is wanted and you trust its author, "
        "set pickle_weights=True"
    )


def _refuse_pickles(name: str, subfolder: Path) -> None:
    if not has_weights(subfolder, ".safetensors") and has_weights(subfolder, ".bin"):
        raise ModelError(pickles_alone(f"the {name}"))


def has_weights(subfolder: Path, *endings: str) -> bool:
    """Whether a folder holds weights of these endings; without any, of all kinds."""
    return subfolder.is_dir() and any(
        file.suffix in (endings or (".safetensors", ".bin")) for file in subfolder.iterdir()
    )


def _has_variant(subfolder: Path, variant: str) -> bool:
    return subfolder.is_dir() and any(
        f".{variant}." in file.name or f".{variant}-" in file.name for file in subfolder.iterdir()
    )
