"""Loads any diffusers pipeline from a folder or the Hub, from safetensors alone and without remote code."""

from __future__ import annotations

import json
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError

from diffumask_datasets.backbones.loading import quiet_loading
from diffumask_datasets.backbones.revision import INDEX, hub_index, local_folder, pipeline_class
from diffumask_datasets.errors import ModelError

__all__ = ["load_pipeline"]

_DTYPE_OPTION = "dtype" if tuple(map(int, diffusers.__version__.split(".")[:2])) >= (0, 40) else "torch_dtype"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_pipeline(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    accelerated_dtype: str = "bfloat16",
) -> Any:
    """The pipeline that ``model`` names in its ``model_index.json``, on its device.

    ``device`` is CUDA where there is one; ``dtype`` is ``accelerated_dtype`` there and float32 elsewhere, unless named.
    Safety checkers are not loaded: they replace images by black ones and leave their masks.

    Raises:
        ModelError: it cannot be loaded, has code of its own, or ``device`` or ``dtype`` is unknown.
    """
    index = _index(model, revision)
    place = _device(device)
    precision = _DTYPES[_dtype_name(dtype, place, accelerated_dtype)]
    try:
        with quiet_loading():
            options = {"safety_checker": None} if "safety_checker" in index else {}
            pipeline = _class(model, index["_class_name"]).from_pretrained(
                model, revision=revision, use_safetensors=True, **options, **{_DTYPE_OPTION: precision}
            )
        return pipeline.to(place)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"cannot load the model {model!r}: {_first_line(error)}") from error


def _index(model: str, revision: str | None) -> dict[str, Any]:
    folder = local_folder(model)
    path = folder / INDEX if folder else hub_index(model, revision)
    pipeline_class(path)  # refuses what is no index
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return index


def _class(model: str, name: Any) -> Any:
    if not isinstance(name, str):
        raise ModelError(f"the model {model!r} brings code of its own ({name[0]}.py), which is never run")
    known = getattr(diffusers, name, None)
    if known is None:
        raise ModelError(
            f"the model {model!r} is a {name}, which diffusers {diffusers.__version__} has not; upgrade it"
        )
    return known


def _device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"unknown device {device!r}; e.g. 'cpu', 'cuda' or 'cuda:1'") from error


def _dtype_name(dtype: str | None, device: torch.device, accelerated: str) -> str:
    name = dtype or (accelerated if device.type == "cuda" else "float32")
    if name not in _DTYPES:
        raise ModelError(f"unknown dtype {name!r}; one of {', '.join(_DTYPES)}")
    return name


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
