"""Loads any diffusers pipeline from a folder or the Hub, from safetensors alone and without remote code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError

from diffumask_datasets.diffusion.lora import merge_lora
from diffumask_datasets.diffusion.model_index import read_index
from diffumask_datasets.diffusion.parts import DTYPE_OPTION, check_placed, load_parts, part_classes, pickles_alone
from diffumask_datasets.diffusion.single_file import load_beside, load_single_file
from diffumask_datasets.errors import MissingDependencyError, ModelError
from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.models.weights import quiet_loading
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

__all__ = ["load_pipeline"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_pipeline(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    options: LoadSettings = PLAIN,
    accelerated_dtype: str = "bfloat16",
) -> Any:
    """The pipeline that ``model`` names in its ``model_index.json``, on its device.

    ``device`` is CUDA where there is one; ``dtype`` is ``accelerated_dtype`` there and float32 elsewhere, unless named.
    Weights come from safetensors alone unless ``options`` allow pickles; code that a model brings is never run.
    Safety checkers are not loaded: they replace images by black ones and leave their masks.

    Raises:
        ModelError: it cannot be loaded, has code of its own, or ``device`` or ``dtype`` is unknown.
    """
    index = read_index(model, revision)
    kind = _class(model, index["_class_name"])
    place = _device(device)
    precision = _DTYPES[_dtype_name(dtype, place, accelerated_dtype)]
    try:
        with quiet_loading():
            pipeline = _loaded(kind, model, revision, index, precision=precision, options=options)
            merge_lora(pipeline, options)
        _replace_scheduler(pipeline, options)
        return pipeline.to(place)
    except (
        *(OSError, ValueError, LookupError, RuntimeError, ImportError),
        *(SafetensorError, SingleFileComponentError),
    ) as error:
        if isinstance(error, MissingDependencyError):
            raise
        raise ModelError(f"cannot load the model {model!r}: {_first_line(error)}") from error


def _loaded(
    kind: Any,
    model: str,
    revision: str | None,
    index: dict[str, Any],
    *,
    precision: torch.dtype,
    options: LoadSettings,
) -> Any:
    checker = {"safety_checker": None, "requires_safety_checker": False}
    without = {name: value for name, value in checker.items() if name in index}
    classes = part_classes(kind, {name: entry for name, entry in index.items() if name not in without})
    how = {**without, DTYPE_OPTION: precision}
    folder = PIPELINE.named(model).local
    if options.checkpoint is not None:
        parts = load_beside(kind, classes, folder, precision=precision, options=options)
        return load_single_file(kind, model, revision=revision, options=options, **parts, **how)
    place = folder or _downloaded(kind, model, revision, options, without)
    parts = load_parts(classes, place, precision=precision, options=options)
    # Parts that the model does without: diffusers wants to be told, where its class has them.
    absent = {name: None for name, entry in index.items() if entry == [None, None] and name not in without}
    return check_placed(kind.from_pretrained(str(place), **parts, **absent, **how), parts)


def _downloaded(kind: Any, model: str, revision: str | None, options: LoadSettings, without: dict[str, Any]) -> Path:
    """The folder of a Hub model in the local cache, with what loading it needs."""
    # None takes pickles where there is nothing else.
    safe = None if options.pickle_weights else True
    try:
        return Path(kind.download(model, revision=revision, variant=options.variant, use_safetensors=safe, **without))
    except OSError as error:
        if "Could not find the necessary `safetensors` weights" in str(error):
            raise ModelError(pickles_alone("it")) from error
        raise


def _class(model: str, name: Any) -> Any:
    if not isinstance(name, str):
        raise ModelError(f"the model {model!r} brings code of its own ({name[0]}.py), which is never run")
    known = getattr(diffusers, name, None)
    if known is None:
        raise ModelError(
            f"the model {model!r} is a {name}, a family nobody registered and diffusers {diffusers.__version__} does not "
            "have; upgrade diffusers, or register it with diffumask_datasets.diffusion.registry.register_family"
        )
    # diffusers puts a stand-in where a package is missing; it says which when it is used.
    if not hasattr(known, "_backends") and not (isinstance(known, type) and issubclass(known, DiffusionPipeline)):
        raise ModelError(f"the index of the model {model!r} names {name}, which is no pipeline class of diffusers")
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


def _replace_scheduler(pipeline: Any, options: LoadSettings) -> None:
    if options.scheduler is None:
        return
    known = {kind.__name__: kind for kind in pipeline.scheduler.compatibles}
    if options.scheduler not in known:
        raise ModelError(
            f"the scheduler {options.scheduler!r} does not fit a {type(pipeline.scheduler).__name__}; "
            f"one of {', '.join(sorted(known))}"
        )
    pipeline.scheduler = known[options.scheduler].from_config(pipeline.scheduler.config)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
