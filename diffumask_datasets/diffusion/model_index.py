"""``model_index.json``: which pipeline class of diffusers a model is of. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.reference import MODEL_INDEX, PIPELINE
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["class_of", "read_index"]


def read_index(model: str, revision: str | None = None) -> dict[str, Any]:
    """Reads the index of a folder or Hub model; it has a ``_class_name``: text, or [module, class] of code of its own.

    Raises:
        ModelError: no such model, or the file is not the index of a pipeline.
    """
    path = PIPELINE.named(model, revision).file(MODEL_INDEX)
    index = read_json(path, what="the index", error=ModelError)
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(f"{str(path)!r} is not the index of a diffusers pipeline: it has no _class_name")
    if not isinstance(_class_name(index), str):
        raise ModelError(
            f"{str(path)!r} is not the index of a diffusers pipeline: its _class_name is no name of a class"
        )
    return index


def class_of(index: Mapping[str, Any]) -> str:
    """The pipeline class that an index names, be it of diffusers or of code of its own, which is never run."""
    return str(_class_name(index))


def _class_name(index: Mapping[str, Any]) -> Any:
    name = index["_class_name"]
    return name[-1] if isinstance(name, list) and len(name) == 2 else name
