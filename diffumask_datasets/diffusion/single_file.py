"""A checkpoint in one file, in the layout of its authors; the model beside it says how it is built."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import is_clip_model_in_single_file, is_t5_in_single_file
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from diffumask_datasets.diffusion.parts import has_weights, load_part
from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.reference import CHECKPOINT
from diffumask_datasets.models.weights import check_fit
from diffumask_datasets.recipes.settings import LoadSettings

__all__ = ["load_beside", "load_single_file"]


def load_beside(
    pipeline: Any,
    classes: Mapping[str, type],
    folder: Path | None,
    *,
    precision: torch.dtype,
    options: LoadSettings,
) -> dict[str, torch.nn.Module]:
    """Loads the networks that a checkpoint lacks, from the folder that the pipeline is built after, where it is local.

    Args:
        pipeline: The pipeline's class.
        classes: Name → class of each network.
        folder: The folder; None where it is not local.
        precision: The dtype of the weights.
        options: Name the checkpoint.

    Returns:
        Name → network.

    Raises:
        ModelError: ``pipeline`` takes no such checkpoint, it cannot be read, or weights of the folder do not fit.
    """
    _check(pipeline, options)
    path = _path(options)
    try:
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read the checkpoint {options.checkpoint!r}, get it anew: {error}") from error
    # diffusers takes networks of its own from the single file alone.
    missing = (
        {}
        if folder is None
        else {
            name: kind for name, kind in classes.items() if issubclass(kind, PreTrainedModel) and not _holds(held, kind)
        }
    )
    return {
        name: load_part(name, kind, folder, precision=precision, options=options)
        for name, kind in missing.items()
        if folder is not None and has_weights(folder / name)
    }


def load_single_file(pipeline: Any, model: str, *, options: LoadSettings, **how: Any) -> Any:
    """Builds a pipeline with the weights of a checkpoint.

    Args:
        pipeline: The pipeline's class.
        model: The folder or Hub id that it is built after.
        options: Name the checkpoint.
        **how: Further arguments of ``from_single_file``.

    Returns:
        The pipeline of diffusers.

    Raises:
        ModelError: The file lacks weights of a network that it has.
    """
    try:
        made = pipeline.from_single_file(str(_path(options)), config=model, **how)
    except NotImplementedError as error:
        # diffusers leaves what is missing without memory, and fails when it moves the network.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            _check_filled(frame.f_locals.values())
        raise
    _check_filled(made.components.values())
    return made


def _check_filled(found: Iterable[Any]) -> None:
    for network in found:
        if isinstance(network, torch.nn.Module):
            what = f"the {type(network).__name__} of the checkpoint"
            check_fit(what, missing=[key for key, value in network.state_dict().items() if value.is_meta])


def _check(pipeline: Any, options: LoadSettings) -> None:
    if not hasattr(pipeline, "from_single_file"):
        raise ModelError(f"a {pipeline.__name__} takes no single-file checkpoint; leave checkpoint out")
    if options.variant is not None:
        raise ModelError("a single-file checkpoint has no variant; leave variant out")


def _path(options: LoadSettings) -> Path:
    path = CHECKPOINT.named(str(options.checkpoint)).local
    assert path is not None  # a checkpoint is never on the Hub
    return path


def _holds(names: Collection[str], kind: type) -> bool:
    """Whether diffusers takes a text encoder from a single file with weights of these names."""
    return bool(is_clip_model_in_single_file(kind, names) or is_t5_in_single_file(names))
