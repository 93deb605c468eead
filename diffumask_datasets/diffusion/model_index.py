"""``model_index.json``: which pipeline class of diffusers a model is of. Imports no torch."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.reference import MODEL_INDEX, PIPELINE
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["pipeline_class", "read_index"]


def read_index(model: str, revision: str | None = None) -> dict[str, Any]:
    """Reads the index of a folder or Hub model; it has a ``_class_name``: text, or [module, class] of code of its own.

    Raises:
        ModelError: no such model, or the file is not the index of a pipeline.
    """
    path = PIPELINE.named(model, revision).file(MODEL_INDEX)
    index = read_json(path, what="the index", error=ModelError)
    if not isinstance(index, dict) or "_class_name" not in index:
        raise ModelError(f"{str(path)!r} is not the index of a diffusers pipeline: it has no _class_name")
    if not isinstance(_class(index), str):
        raise ModelError(
            f"{str(path)!r} is not the index of a diffusers pipeline: its _class_name is no name of a class"
        )
    return index


def pipeline_class(model: str, revision: str | None = None) -> str:
    """The pipeline class of a model, be it of diffusers or of its own code; that code is never run.

    Raises:
        ModelError: no such model, or not the index of a pipeline.
    """
    return str(_class(read_index(model, revision)))


def _class(index: dict[str, Any]) -> Any:
    name = index["_class_name"]
    return name[-1] if isinstance(name, list) and len(name) == 2 else name
