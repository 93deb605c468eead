"""LoRA: small additions to a model's weights, merged into them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from diffumask_datasets.errors import MissingDependencyError, ModelError
from diffumask_datasets.models.reference import LORA
from diffumask_datasets.models.weights import listed
from diffumask_datasets.recipes.settings import LoadSettings

__all__ = ["merge_lora"]


def merge_lora(pipeline: Any, options: LoadSettings) -> None:
    """Adds the LoRA to the weights themselves, so that generation costs no more and attention modules stay as they are.

    Raises:
        MissingDependencyError: peft is not installed.
        ModelError: the pipeline takes no LoRA, or this one is not wholly for it.
    """
    if options.lora is None:
        return
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError.of("peft", "lora")
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"a {type(pipeline).__name__} takes no LoRA; leave lora out")
    local = LORA.named(options.lora).local
    revision = {} if local else {"revision": options.lora_revision}
    source = str(local or options.lora)
    try:
        held = pipeline.lora_state_dict(source, use_safetensors=True, **revision)
        weights = dict(held[0] if isinstance(held, tuple) else held)
        # Otherwise what the file lacks would lie nowhere, and moving it be an error without a name.
        pipeline.load_lora_weights(source, use_safetensors=True, low_cpu_mem_usage=False, **revision)
    except (ValueError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the LoRA {options.lora!r} does not fit the model: {reason}") from error
    _check_taken(options.lora, weights, _added(pipeline))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def _added(pipeline: Any) -> dict[str, torch.Tensor]:
    """The LoRA's weights as they lie in the networks."""
    return {
        f"{part}.{name}": weight
        for part, network in pipeline.components.items()
        if isinstance(network, torch.nn.Module)
        for name, weight in network.state_dict().items()
        if ".lora_" in name
    }


def _check_taken(lora: str, held: Mapping[str, torch.Tensor], added: Mapping[str, torch.Tensor]) -> None:
    """Compares by content: diffusers only warns of names that fit nothing, and gives what is missing random numbers."""
    # A precision is not undone: both sides are compared in the lower one of the two.
    precision = next((weight.dtype for weight in added.values()), torch.float32)
    file = {name: _content(weight, precision) for name, weight in held.items() if weight.ndim > 0}
    network = {name: _content(weight, precision) for name, weight in added.items()}
    left = Counter(file.values()) - Counter(network.values())
    drawn = Counter(network.values()) - Counter(file.values())
    problems = []
    if left:
        names = [name for name, content in file.items() if content in left]
        problems.append(f"{left.total()} of its weights belong to nothing in the model ({listed(names)})")
    if drawn:
        names = [name for name, content in network.items() if content in drawn]
        problems.append(f"it lacks {drawn.total()} weights ({listed(names)})")
    if problems or not held:
        raise ModelError(
            f"the LoRA {lora!r} does not fit the model: {', '.join(problems) or 'it is empty'}; take one made for this model"
        )


def _content(weight: torch.Tensor, precision: torch.dtype) -> str:
    values = weight.detach().to("cpu", precision).float().contiguous()
    return f"{tuple(values.shape)} {hashlib.sha256(values.numpy().tobytes()).hexdigest()}"
