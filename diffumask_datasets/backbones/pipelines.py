"""Loads any diffusers pipeline from a folder or the Hub, from safetensors alone and without remote code."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError

from diffumask_datasets.backbones.loading import quiet_loading
from diffumask_datasets.backbones.options import PLAIN, LoadOptions, resolve_checkpoint
from diffumask_datasets.backbones.revision import INDEX, hub_index, local_folder, pipeline_class
from diffumask_datasets.errors import MissingDependencyError, ModelError

__all__ = ["load_pipeline"]

_DTYPE_OPTION = "dtype" if tuple(map(int, diffusers.__version__.split(".")[:2])) >= (0, 40) else "torch_dtype"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_pipeline(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    options: LoadOptions = PLAIN,
    accelerated_dtype: str = "bfloat16",
) -> Any:
    """The pipeline that ``model`` names in its ``model_index.json``, on its device.

    ``device`` is CUDA where there is one; ``dtype`` is ``accelerated_dtype`` there and float32 elsewhere, unless named.
    Weights come from safetensors alone unless ``options`` allow pickles; code that a model brings is never run.
    Safety checkers are not loaded: they replace images by black ones and leave their masks.

    Raises:
        ModelError: it cannot be loaded, has code of its own, or ``device`` or ``dtype`` is unknown.
    """
    index = _index(model, revision)
    place = _device(device)
    precision = _DTYPES[_dtype_name(dtype, place, accelerated_dtype)]
    try:
        with quiet_loading():
            checker = {"safety_checker": None, "requires_safety_checker": False}
            unchecked = {name: value for name, value in checker.items() if name in index}
            how = {"revision": revision, **unchecked, _DTYPE_OPTION: precision}
            pipeline = _loaded(_class(model, index["_class_name"]), model, options, how)
            _merge_lora(pipeline, options)
        _replace_scheduler(pipeline, options)
        return pipeline.to(place)
    except (
        *(OSError, ValueError, KeyError, RuntimeError, ImportError),
        *(SafetensorError, SingleFileComponentError),
    ) as error:
        if isinstance(error, (ModelError, MissingDependencyError)):
            raise
        raise ModelError(f"cannot load the model {model!r}: {_first_line(error)}{_mend(error)}") from error


def _loaded(kind: Any, model: str, options: LoadOptions, how: dict[str, Any]) -> Any:
    if options.checkpoint is None:
        # None takes pickles where there is nothing else.
        use_safetensors = None if options.pickle_weights else True
        return kind.from_pretrained(model, variant=options.variant, use_safetensors=use_safetensors, **how)
    if not hasattr(kind, "from_single_file"):
        raise ModelError(f"a {kind.__name__} takes no single-file checkpoint; leave checkpoint out")
    if options.variant is not None:
        raise ModelError("a single-file checkpoint has no variant; leave variant out")
    resolve_checkpoint(options.checkpoint)  # refuses what is no safetensors file
    return kind.from_single_file(str(Path(options.checkpoint).expanduser()), config=model, **how)


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
            f"the model {model!r} is a {name}, a family nobody registered and diffusers {diffusers.__version__} does not "
            "have; upgrade diffusers, or register it with diffumask_datasets.backbones.registry.register_family"
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


def _merge_lora(pipeline: Any, options: LoadOptions) -> None:
    """Adds the LoRA to the weights themselves, so that painting costs no more and attention modules stay what they are."""
    if options.lora is None:
        return
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError.of("peft", "lora")
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"a {type(pipeline).__name__} takes no LoRA; leave lora out")
    local = Path(options.lora).expanduser()
    revision = {} if local.exists() else {"revision": options.lora_revision}
    place = str(local) if local.exists() else options.lora
    pipeline.load_lora_weights(place, use_safetensors=True, **revision)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def _replace_scheduler(pipeline: Any, options: LoadOptions) -> None:
    if options.scheduler is None:
        return
    known = {kind.__name__: kind for kind in pipeline.scheduler.compatibles}
    if options.scheduler not in known:
        raise ModelError(
            f"the scheduler {options.scheduler!r} does not fit a {type(pipeline.scheduler).__name__}; "
            f"one of {', '.join(sorted(known))}"
        )
    pipeline.scheduler = known[options.scheduler].from_config(pipeline.scheduler.config)


def _mend(error: BaseException) -> str:
    if "safetensors" in str(error) and isinstance(error, OSError):
        return "; where the model has pickled weights alone and you trust its author, set pickle_weights=True"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
