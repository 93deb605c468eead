"""How large a model is, known before it is loaded. Imports no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open

from diffumask_datasets.models.reference import MODEL_INDEX, ModelReference

__all__ = ["parameter_count"]

STORED_BYTES = 2
"""Bytes a parameter where only the size of a file is known; few models are published in float32."""

FORMATS = (".safetensors", ".bin")
"""What is loaded, the first of them that a network has."""


def parameter_count(model: ModelReference, *, variant: str | None = None) -> int | None:
    """The parameters of a pipeline's networks together, or None where neither this machine nor the Hub says.

    Those of files on this machine are read from their headers, the others follow from their sizes.
    """
    if model.local is None and model.is_built_in:
        return None
    folder = model.file(MODEL_INDEX).parent
    found = {path.relative_to(folder).as_posix(): _parameters(path) for path in folder.glob("*/*") if path.is_file()}
    return _total(found, variant) or _total(_on_hub(model), variant) or None


def _total(files: Mapping[str, int], variant: str | None) -> int:
    networks: dict[str, list[PurePosixPath]] = defaultdict(list)
    for name in map(PurePosixPath, files):
        if len(name.parts) == 2:  # diffusers loads nothing that lies beside the networks' folders
            networks[name.parts[0]].append(name)
    return sum(files[str(name)] for names in networks.values() for name in _loaded(names, variant))


def _loaded(names: Sequence[PurePosixPath], variant: str | None) -> list[PurePosixPath]:
    """Which of the files of one network are loaded: ``model.fp16.safetensors`` is the variant fp16."""
    own = next((found for suffix in FORMATS if (found := [name for name in names if name.suffix == suffix])), [])
    of_variant = [name for name in own if variant and f".{variant}" in name.stem]
    return of_variant or [name for name in own if "." not in name.stem]


def _parameters(path: Path) -> int:
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return size // STORED_BYTES
    try:
        with safe_open(path, framework="numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
    except SafetensorError:  # damaged: whoever loads it says so
        return size // STORED_BYTES


def _on_hub(model: ModelReference) -> dict[str, int]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from diffumask_datasets.recipes.hub_errors import CONNECTION_ERRORS

    if model.local is not None:
        return {}
    unanswered: tuple[type[Exception], ...] = (*CONNECTION_ERRORS, HfHubHTTPError)
    try:
        siblings = HfApi().model_info(model.name, revision=model.revision, files_metadata=True).siblings
    except unanswered:
        return {}
    return {file.rfilename: (file.size or 0) // STORED_BYTES for file in siblings or []}
