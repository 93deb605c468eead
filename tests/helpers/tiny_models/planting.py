"""Arranges inputs and weights so that one region of the image, and no other, attends to given words.

The latents say where: +1 in the region, -1 elsewhere. The text encoders say what: a direction at the tokens of the
words, its opposite at all others. The denoiser is set to zero but for its embeddings and its query and key projections,
so that both signs reach every attention unchanged. Nothing here knows in which order a model puts its tokens, which rows
are conditional or where in its string a word stands: that is what the tests find out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal
from unittest import mock

import torch
from torch import nn

AMPLITUDE = 8.0
KEY_CHANNEL = {"image": 0, "text": 2}
"""The first of the two channels whose difference is the sign."""


@contextmanager
def planted(
    pipeline: Any,
    denoiser: Any,
    pieces: set[str],
    region: torch.Tensor,
    embedders: dict[str, str],
    *,
    keys: Literal["text", "image"] = "text",
) -> Iterator[None]:
    """Within the block ``region`` (height, width in tokens, bool) attends to the tokens that are ``pieces``.

    With ``keys`` of the image it attends to itself instead, and what is outside to what is outside. ``embedders`` names
    the denoiser's module that embeds the image ("image") and those that project text ("text", separated by spaces; none
    where text is taken as it is). The weights stay changed.
    """
    _quieten(denoiser)
    _embed_image(denoiser.get_submodule(embedders["image"]))
    for name, module in denoiser.named_modules():
        part = name.rpartition(".")[2]
        if part in ("to_q", "add_q_proj"):
            _project(module, channel=0, heads=_heads(denoiser, name))
        elif part in ("to_k", "add_k_proj"):
            _project(module, channel=KEY_CHANNEL[keys], heads=_heads(denoiser, name))
        elif part == "to_qkv_mlp_proj":
            _project_together(module, denoiser.get_submodule(name.rpartition(".")[0]), KEY_CHANNEL[keys])
    with ExitStack() as stack:
        _plant_latents(stack, pipeline, region)
        _plant_text(stack, pipeline, pieces)
        for name in embedders.get("text", "").split():
            hook = denoiser.get_submodule(name).register_forward_hook(_keep_sign)
            stack.callback(hook.remove)
        _still_positions(stack, denoiser)
        yield


def _quieten(denoiser: Any) -> None:
    for module in denoiser.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_scale = "Norm" in type(module).__name__ and name == "weight"
            parameter.data.fill_(1.0 if is_scale else 0.0)
        for name, buffer in module.named_buffers(recurse=False):
            if "pos_embed" in name:
                buffer.zero_()
    for name, parameter in denoiser.named_parameters():
        if name in ("proj_out.bias", "norm_out.linear_2.bias"):
            parameter.data.fill_(1e-3)  # some pipelines divide by the length of the prediction


def _embed_image(module: Any) -> None:
    """Channel 0 minus channel 1 carries the sign of the patch."""
    weight = module.weight.data
    weight[0], weight[1] = AMPLITUDE / weight[0].numel(), -AMPLITUDE / weight[0].numel()


def _heads(denoiser: Any, name: str) -> int:
    return int(denoiser.get_submodule(name.rpartition(".")[0]).heads)


def _project(module: Any, *, channel: int, heads: int) -> None:
    """In each head, dimensions 0 and 1 are plus and minus (channel minus the next)."""
    weight = module.weight.data.unflatten(0, (-1, module.weight.shape[0] // heads if heads else 1))
    _plant(weight, channel)


def _plant(weight: torch.Tensor, channel: int) -> None:
    """``weight`` (heads, dim, in)."""
    for dimension, sign in ((0, 1.0), (1, -1.0)):
        weight[:, dimension, channel] = sign
        weight[:, dimension, channel + 1] = -sign


def _project_together(module: Any, attention: Any, key_channel: int) -> None:
    """Queries, keys, values and the MLP's input in one projection."""
    inner = attention.inner_dim
    for start, channel in ((0, 0), (inner, key_channel)):
        _plant(module.weight.data[start : start + inner].unflatten(0, (attention.heads, -1)), channel)


def _plant_latents(stack: ExitStack, pipeline: Any, region: torch.Tensor) -> None:
    def randn_tensor(shape, **options):
        scale = (shape[-2] // region.shape[0], shape[-1] // region.shape[1])
        fine = region.repeat_interleave(scale[0], dim=0).repeat_interleave(scale[1], dim=1)
        return torch.where(fine, 1.0, -1.0).expand(shape).clone()

    stack.enter_context(mock.patch.dict(type(pipeline).prepare_latents.__globals__, {"randn_tensor": randn_tensor}))


def _plant_text(stack: ExitStack, pipeline: Any, pieces: set[str]) -> None:
    for name in ("", "_2", "_3"):
        encoder = getattr(pipeline, f"text_encoder{name}", None)
        if encoder is not None:
            tokenizer = getattr(pipeline, f"tokenizer{name}")
            ids = torch.tensor(
                [tokenizer.convert_tokens_to_ids(piece) for piece in tokenizer.get_vocab() if piece in pieces]
            )
            assert len(ids)
            stack.callback(encoder.register_forward_hook(_speak(ids), with_kwargs=True).remove)


def _speak(ids: torch.Tensor) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        tokens = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        layers = output.hidden_states or (output.last_hidden_state,)
        said = torch.zeros(*tokens.shape, layers[0].shape[-1])
        said[..., 2] = torch.where(torch.isin(tokens, ids), AMPLITUDE, -AMPLITUDE)
        said[..., 3] = -said[..., 2]
        if layers[0].shape[:2] != tokens.shape:
            said = said.transpose(0, 1)  # ChatGLM puts time first
        if output.hidden_states:
            output["hidden_states"] = (said,) * len(layers)
        if "last_hidden_state" in output:
            output["last_hidden_state"] = said
        return output

    return hook


def _keep_sign(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    """What a text projection gives: the sign of what it got, in channels 2 and 3."""
    planted = torch.zeros_like(output)
    planted[..., 2] = AMPLITUDE * args[0][..., 2].sign()
    planted[..., 3] = -planted[..., 2]
    return planted


def _still_positions(stack: ExitStack, denoiser: Any) -> None:
    """Rotary embeddings turn nothing."""

    def unturned(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return args, {name: _still(value) if name == "image_rotary_emb" else value for name, value in kwargs.items()}

    stack.callback(denoiser.register_forward_pre_hook(unturned, with_kwargs=True).remove)
    for name in ("pos_embed", "rope", "rope_embedder"):
        module = getattr(denoiser, name, None)
        if isinstance(module, nn.Module) and not hasattr(module, "proj"):
            stack.callback(module.register_forward_hook(lambda module, args, output: _still(output)).remove)
        elif module is not None and not isinstance(module, nn.Module):
            stack.enter_context(mock.patch.object(denoiser, name, lambda *args, own=module: _still(own(*args))))


def _still(output: Any) -> Any:
    if torch.is_tensor(output):
        return torch.ones_like(output) if output.is_complex() else output
    if (
        isinstance(output, tuple)
        and len(output) == 2
        and all(torch.is_tensor(part) and not part.is_complex() for part in output)
    ):
        return torch.ones_like(output[0]), torch.zeros_like(output[1])
    return type(output)(_still(part) for part in output) if isinstance(output, (tuple, list)) else output


@contextmanager
def planted_unet(
    pipeline: Any, names: list[str], pieces: set[str], region: torch.Tensor, *, keys: Literal["text", "image"] = "text"
) -> Iterator[None]:
    """As :func:`planted` for a UNet, whose convolutions would smear the sign: image tokens are planted layer by layer."""
    flat = torch.where(region.flatten(), AMPLITUDE, -AMPLITUDE)

    def say(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        said = torch.zeros_like(output).unflatten(2, (heads[module], -1))
        said[..., 0], said[..., 1] = flat[None, :, None], -flat[None, :, None]
        return said.flatten(2)

    heads = {}
    with ExitStack() as stack:
        _plant_text(stack, pipeline, pieces)
        for name in names:
            module = pipeline.unet.get_submodule(name)
            planted_modules = [module.to_q] if keys == "text" else [module.to_q, module.to_k]
            if keys == "text":
                module.to_k.weight.data.zero_()
                _project(module.to_k, channel=KEY_CHANNEL["text"], heads=module.heads)
            for projection in planted_modules:
                heads[projection] = module.heads
                stack.callback(projection.register_forward_hook(say).remove)
        yield
