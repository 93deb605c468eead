"""Hooks that see every scaled dot-product attention of chosen modules, and change none.

Works for any model whose attention modules end in ``F.scaled_dot_product_attention``, whatever its processors,
because queries and keys are read after projection, normalisation and rotary embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from diffumask_datasets.errors import CaptureError

__all__ = ["AttentionCall", "hook_attention"]


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One attention as the model computes it: softmax(query · keyᵀ · scale + mask) over the keys.

    ``query`` is (batch, heads, queries, dim) and ``key`` (batch, heads, keys, dim), both in the model's dtype;
    ``mask`` broadcasts to (batch, heads, queries, keys), boolean (False is hidden) or added to the logits;
    ``name`` is the module's. Self-attention and joint attention have the same shape as cross-attention.
    """

    name: str
    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    scale: float


def _always() -> bool:
    return True


@contextmanager
def hook_attention(
    modules: Mapping[str, nn.Module],
    on_call: Callable[[AttentionCall], None],
    *,
    when: Callable[[], bool] = _always,
) -> Iterator[None]:
    """Listens to every attention that modules compute inside the ``with`` block.

    The original call still makes the output, bit for bit. Hooks are gone afterwards, also when the block or setting up
    raises.

    Args:
        modules: The modules by name.
        on_call: Gets each call.
        when: Asked each time a module starts; where it says no, that module runs untouched.

    Returns:
        A context.

    Raises:
        CaptureError: A module computes causal attention, which :class:`AttentionCall` cannot describe.
    """
    with ExitStack() as cleanup:
        for name, module in modules.items():
            hooks = _ModuleHooks(name, on_call, when)
            cleanup.callback(hooks.leave_all)
            cleanup.callback(module.register_forward_pre_hook(hooks.enter, with_kwargs=True).remove)
            cleanup.callback(module.register_forward_hook(hooks.leave, with_kwargs=True, always_call=True).remove)
        yield


class _ModuleHooks:
    """Enters and leaves the function mode around the forward of one module."""

    def __init__(self, name: str, on_call: Callable[[AttentionCall], None], when: Callable[[], bool]) -> None:
        self._name = name
        self._on_call = on_call
        self._when = when
        self._entered: list[ExitStack] = []

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._when():
            stack = ExitStack()
            stack.enter_context(_SdpaMode(self._name, self._on_call))
            self._entered.append(stack)

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._entered:
            self._entered.pop().close()

    # torch skips its always_call hooks on KeyboardInterrupt.
    def leave_all(self) -> None:
        while self._entered:
            self._entered.pop().close()


class _SdpaMode(TorchFunctionMode):
    def __init__(self, name: str, on_call: Callable[[AttentionCall], None]) -> None:
        super().__init__()
        self._name = name
        self._on_call = on_call

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._on_call(_read_call(self._name, *args, **kwargs))
        return func(*args, **kwargs)


def _read_call(
    name: str,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    """Reads the arguments of ``F.scaled_dot_product_attention`` by position or keyword, as torch itself does."""
    if is_causal:
        raise CaptureError(
            f"attention module {name!r} is causal; choose the modules where the image attends to the text"
        )
    return AttentionCall(name, query, key, attn_mask, query.shape[-1] ** -0.5 if scale is None else scale)
