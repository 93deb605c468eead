"""Makes diffusers' attention modules compute through ``F.scaled_dot_product_attention``, eagerly, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    JointAttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)
from torch import nn

from diffumask_datasets.errors import CaptureError

try:
    from diffusers.models.attention_processor import XFormersJointAttnProcessor
except ImportError:  # diffusers < 0.33
    XFormersJointAttnProcessor = ()

__all__ = ["native_attention", "uncompiled"]

_SAME_RESULT = (AttnProcessor, SlicedAttnProcessor, XFormersAttnProcessor)
"""Processors that compute what AttnProcessor2_0 computes, by other means. Any other is left alone: it may do more."""

_BACKEND = "_attention_backend"
"""Where processors of newer models keep the name of the backend that they dispatch to; None is the process's choice."""


@contextmanager
def native_attention(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block ``modules`` use the native processor; afterwards, whatever happens, their own again."""
    with ExitStack() as restore:
        for module in modules:
            processor = getattr(module, "processor", None)
            if isinstance(processor, _SAME_RESULT):
                _swap(restore, module, AttnProcessor2_0())
            elif isinstance(processor, XFormersJointAttnProcessor):
                _swap(restore, module, JointAttnProcessor2_0())
            elif hasattr(processor, _BACKEND):
                restore.callback(setattr, processor, _BACKEND, getattr(processor, _BACKEND))
                setattr(processor, _BACKEND, _native_backend())
        yield


@contextmanager
def uncompiled(denoiser: nn.Module) -> Iterator[None]:
    """Within the block code that ``torch.compile`` has compiled runs as it was written, if ``denoiser`` has any.

    Raises:
        CaptureError: torch is too old for that.
    """
    wrapped = hasattr(denoiser, "_orig_mod")
    if not wrapped and not any(getattr(module, "_compiled_call_impl", None) for module in denoiser.modules()):
        yield
        return
    if not hasattr(torch.compiler, "set_stance"):
        raise CaptureError(
            "a compiled denoiser hides its attention before torch 2.6: upgrade torch or do not compile it"
        )
    with torch.compiler.set_stance("force_eager"):
        yield


def _swap(restore: ExitStack, module: nn.Module, processor: object) -> None:
    set_processor: Callable[[object], None] = module.set_processor  # type: ignore[assignment, unused-ignore]
    restore.callback(set_processor, module.processor)
    set_processor(processor)


def _native_backend() -> object:
    from diffusers.models.attention_dispatch import AttentionBackendName

    return AttentionBackendName.NATIVE
