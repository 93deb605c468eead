"""Makes diffusers' attention modules compute through ``F.scaled_dot_product_attention`` for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor,
    AttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)

__all__ = ["native_attention"]

_SAME_RESULT = (AttnProcessor, SlicedAttnProcessor, XFormersAttnProcessor)
"""Processors that compute what AttnProcessor2_0 computes, by other means. Any other is left alone: it may do more."""


@contextmanager
def native_attention(modules: Iterable[Attention]) -> Iterator[None]:
    """Within the block ``modules`` use the native processor; afterwards, whatever happens, their own again."""
    with ExitStack() as restore:
        for module in modules:
            if isinstance(module.processor, _SAME_RESULT):
                restore.callback(module.set_processor, module.processor)
                module.set_processor(AttnProcessor2_0())
        yield
