"""Pipelines that nobody registered: the family is found by watching one step, and what was assumed is said."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from diffumask_datasets.attention.hooks import AttentionCall, hook_attention
from diffumask_datasets.attention.layout import CROSS, Layout
from diffumask_datasets.diffusion.denoiser_hooks import after_call
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.family import Family, guidance
from diffumask_datasets.diffusion.pipelines import load_pipeline
from diffumask_datasets.diffusion.text import Text, wrapped
from diffumask_datasets.errors import CaptureError
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

__all__ = ["family_of", "load"]

logger = logging.getLogger(__name__)

PROBE = "qqq"
"""The prompt of the step that is watched: nothing that a template would hold."""

_REGISTER = "register it with diffumask_datasets.diffusion.registry.register_family"


@dataclass(frozen=True, slots=True)
class ByUnit:
    """Layers and how many pixels a side of their tokens has."""

    units: dict[str, int]

    def __call__(self, pipeline: Any, denoiser: Any, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Name → (height, width) in tokens."""
        return {name: (height // unit, width // unit) for name, unit in self.units.items()}

    def unit(self, pipeline: Any, denoiser: Any) -> int:
        """Pixels that a side must be a multiple of."""
        return max(self.units.values())


@dataclass(slots=True)
class _Seen:
    """What one step showed: attention calls, the same with other text, the text, and the tokenised strings."""

    calls: list[AttentionCall] = field(default_factory=list)
    changed: list[AttentionCall] = field(default_factory=list)
    argument: str = ""
    text: Any = None
    strings: list[tuple[str, str, int, dict[str, Any]]] = field(default_factory=list)


def load(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    options: LoadSettings = PLAIN,
) -> DiffusersModel:
    """Loads a pipeline of a class that nobody registered, and finds out how to read it.

    Args:
        model: A folder or Hub id.
        revision: That of a Hub model.
        device: torch's name of the device; default: the best there is.
        dtype: torch's name of the dtype; default: that of the device.
        options: How it is loaded.

    Returns:
        The model.

    Raises:
        ModelError: diffusers has no such class, or it cannot be loaded.
        CaptureError: Its attention to the prompt could not be found.
    """
    pipeline = load_pipeline(model, revision=revision, device=device, dtype=dtype, options=options)
    pipeline.set_progress_bar_config(disable=True)
    family = family_of(pipeline)
    logger.warning(
        "%s is a %s, which is not registered. Assumed from one step: %s. Look at some heat maps before you trust them.",
        model,
        type(pipeline).__name__,
        describe(family),
    )
    return DiffusersModel(pipeline, family)


def describe(family: Family) -> str:
    """One line: what was assumed."""
    text, layers = family.text, family.layers
    assert isinstance(text, Text)
    assert isinstance(layers, ByUnit)
    units = sorted(set(layers.units.values()))
    return (
        f"{len(layers.units)} layers of {'cross' if family.layout is CROSS else 'joint'} attention in "
        f"{family.denoiser!r}, tokens of {', '.join(map(str, units))} pixels, sequence order {family.layout.order!r} with "
        f"{family.layout.registers} tokens before, the text of {text.tokenizer!r} without its first {text.dropped}"
    )


def family_of(pipeline: Any) -> Family:
    """Watches one step of ``pipeline`` and declares what it saw.

    Raises:
        CaptureError: no image token attends to the prompt, or where it does cannot be determined.
    """
    scale = int(getattr(pipeline, "vae_scale_factor", 8))
    height, width = 16 * scale, 32 * scale
    denoiser_name = next((name for name in ("transformer", "unet") if getattr(pipeline, name, None) is not None), None)
    if denoiser_name is None:
        raise CaptureError(f"{type(pipeline).__name__} has neither transformer nor unet; {_REGISTER}")
    seen = _watched(pipeline, getattr(pipeline, denoiser_name), height, width)
    if not seen.argument:
        raise CaptureError(
            f"no prompt token reaches the image in {type(pipeline).__name__}: its {denoiser_name} is not given what "
            f"encode_prompt makes; take another model, or {_REGISTER}"
        )
    length = len(seen.text[0])
    units, layout = _cross(seen, length, height * width) or _joint(seen, length, height * width)
    self_units = _self_attention(seen, units) if layout is CROSS else {}
    return Family(
        name=type(pipeline).__name__,
        pipelines=(type(pipeline).__name__,),
        denoiser=denoiser_name,
        layers=ByUnit(units),
        self_attention=(ByUnit(self_units) if self_units else "no self-attention was seen")
        if layout is CROSS
        else None,
        text=_text(pipeline, seen, length),
        layout=layout,
        text_argument=seen.argument,
        arguments=_arguments(pipeline),
        fixed=_fixed(pipeline),
    )


def _watched(pipeline: Any, denoiser: Any, height: int, width: int) -> _Seen:
    seen = _Seen()
    modules = {name: module for name, module in denoiser.named_modules() if hasattr(module, "processor")}
    signature = inspect.signature(type(denoiser).forward)
    is_first = True

    def encoded(output: Any) -> None:
        if seen.text is None:
            seen.text = output[0] if isinstance(output, tuple) else output

    def again(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal is_first
        if not is_first:
            return
        is_first = False
        given = signature.bind(module, *args, **kwargs).arguments
        seen.argument = next(
            (name for name, value in given.items() if value is seen.text or _equal(value, seen.text)), ""
        )
        if seen.argument:
            other = [torch.roll(row, 1, dims=-1) + 1 for row in seen.text]
            given[seen.argument] = torch.stack(other) if torch.is_tensor(seen.text) else other
            into.append(seen.changed)
            del given["self"]
            module.forward(**given)
            into.append([])

    into = [seen.calls]
    generator = torch.Generator("cpu").manual_seed(0)
    with ExitStack() as stack:
        after_call(stack, pipeline, "encode_prompt", encoded)
        stack.enter_context(_spied(pipeline, seen))
        stack.enter_context(hook_attention(modules, lambda call: into[-1].append(call)))
        stack.callback(denoiser.register_forward_hook(again, with_kwargs=True).remove)
        stack.enter_context(torch.no_grad())
        pipeline(
            prompt=[PROBE],
            height=height,
            width=width,
            num_inference_steps=2,
            output_type="latent",
            generator=[generator],
            **{"guidance_scale": 1.0} if "guidance_scale" in _parameters(pipeline) else {},
            **_fixed(pipeline),
        )
    return seen


def _cross(seen: _Seen, length: int, pixels: int) -> tuple[dict[str, int], Layout] | None:
    calls = [call for call in seen.calls if call.key.shape[2] == length != call.query.shape[2]]
    units = {call.name: _unit(pixels, call.query.shape[2]) for call in calls}
    return ({name: unit for name, unit in units.items() if unit}, CROSS) if all(units.values()) and units else None


def _self_attention(seen: _Seen, cross: dict[str, int]) -> dict[str, int]:
    """Layers that attend from the image tokens of a ``cross`` layer to as many keys, with the pixels to a token's side."""
    units = {call.query.shape[2]: cross[call.name] for call in seen.calls if call.name in cross}
    calls = [call for call in seen.calls if call.name not in cross and call.key.shape[2] == call.query.shape[2]]
    return {call.name: units[call.query.shape[2]] for call in calls if call.query.shape[2] in units}


def _joint(seen: _Seen, length: int, pixels: int) -> tuple[dict[str, int], Layout]:
    """The text is where the keys change with the text: in the first layer, before image and text have mixed."""
    calls = [call for call in seen.calls if call.key.shape[2] == call.query.shape[2] > length]
    other = {call.name: call for call in reversed(seen.changed)}
    for call in calls:
        moved = (other[call.name].key - call.key).abs().amax(dim=(0, 1, 3)).nonzero().flatten().tolist()
        total = call.key.shape[2]
        if not moved or moved != list(range(moved[0], moved[0] + length)):
            continue
        start, after = moved[0], total - moved[-1] - 1
        image, order = (after, "text first") if after > start else (start, "image first")
        unit = _unit(pixels, image)
        if unit:
            layout = Layout("text first", registers=start) if order == "text first" else Layout("image first")
            return {one.name: unit for one in calls if one.key.shape[2] == total}, layout
    raise CaptureError(f"where the prompt stands in the attention of this model cannot be determined; {_REGISTER}")


def _unit(pixels: int, tokens: int) -> int:
    """Pixels to a token's side, 0 where that is no whole number."""
    unit = math.isqrt(pixels // tokens)
    return unit if unit * unit * tokens == pixels else 0


def _text(pipeline: Any, seen: _Seen, length: int) -> Text:
    fed = [(name, text, count, options) for name, text, count, options in seen.strings if count >= length]
    if not fed:
        raise CaptureError(f"none of the tokenizers of {type(pipeline).__name__} made {length} tokens; {_REGISTER}")
    name, string, count, options = min(fed, key=lambda one: one[2])
    before, _, after = string.partition(PROBE)
    return Text(
        tokenizer=name,
        feed=lambda pipeline, prompt: wrapped(prompt, before, after),
        max_length=options.get("max_length"),
        special_tokens=options.get("add_special_tokens", True),
        dropped=count - length,
        padding="max_length" if options.get("padding") == "max_length" else "longest",
    )


@contextmanager
def _spied(pipeline: Any, seen: _Seen) -> Iterator[None]:
    """Notes (tokenizer, string, tokens with padding, options) of each call of a tokenizer that holds the probe."""
    with ExitStack() as restore:
        names = [name for name in pipeline.components if name.startswith("tokenizer") and getattr(pipeline, name)]
        for kind in {type(getattr(pipeline, name)) for name in names}:
            restore.enter_context(_spied_class(kind, pipeline, names, seen))
        yield


@contextmanager
def _spied_class(kind: Any, pipeline: Any, names: Sequence[str], seen: _Seen) -> Iterator[None]:
    own = kind.__call__

    def call(self: Any, text: Any = None, *args: Any, **options: Any) -> Any:
        encoded = own(self, text, *args, **options)
        string = text[0] if isinstance(text, list) else text
        name = next((name for name in names if getattr(pipeline, name) is self), None)
        if name and isinstance(string, str) and PROBE in string:
            ids = torch.as_tensor(encoded["input_ids"])
            seen.strings.append((name, string, ids.shape[-1], options))
        return encoded

    was_own = "__call__" in vars(kind)
    kind.__call__ = call
    try:
        yield
    finally:
        if was_own:
            kind.__call__ = own
        else:
            del kind.__call__


def _equal(value: Any, text: Any) -> bool:
    return torch.is_tensor(value) and torch.is_tensor(text) and value.shape == text.shape and torch.equal(value, text)


def _parameters(pipeline: Any) -> Any:
    return inspect.signature(type(pipeline).__call__).parameters


def _arguments(pipeline: Any) -> Any:
    known = _parameters(pipeline)

    def arguments(recipe: Any, images: int) -> dict[str, Any]:
        return {name: value for name, value in guidance(recipe, images).items() if name in known}

    return arguments


def _fixed(pipeline: Any) -> dict[str, Any]:
    """Cleaning would change the string, binning the size."""
    return {name: False for name in ("clean_caption", "use_resolution_binning") if name in _parameters(pipeline)}
