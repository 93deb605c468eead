"""How others read cross-attention, in the fewest lines: to compare costs in one process, not to be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor


class StoreAll(AttnProcessor):
    """Prompt-to-prompt's way: every layer computes eagerly and keeps the conditional maps of every step up to 32x32."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[torch.Tensor] = []

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **options: Any) -> Any:
        weights = _weights(attn, hidden_states, encoder_hidden_states)
        if weights.shape[1] <= 32**2:
            self.kept.append(weights[len(weights) // 2 :].clone())
        return super().__call__(attn, hidden_states, encoder_hidden_states, **options)


class SumPerHead(AttnProcessor):
    """DAAM's way: cross-attention layers compute eagerly and add up the conditional maps of all tokens, head by head."""

    def __init__(self) -> None:
        super().__init__()
        self.sum: torch.Tensor | None = None

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **options: Any) -> Any:
        weights = _weights(attn, hidden_states, encoder_hidden_states)
        maps = weights[len(weights) // 2 :].permute(2, 0, 1).float()
        self.sum = maps.clone() if self.sum is None else self.sum.add_(maps)
        return super().__call__(attn, hidden_states, encoder_hidden_states, **options)


@contextmanager
def processors(unet: Any, make: type, *, self_attention: bool) -> Iterator[list[Any]]:
    """Within the block the attention of ``unet`` is computed by ``make()``, one a layer; afterwards as before."""
    modules = [
        module for name, module in unet.named_modules() if name.endswith(("attn2", "attn1")[: 1 + self_attention])
    ]
    before = [module.processor for module in modules]
    for module in modules:
        module.set_processor(make())
    try:
        yield [module.processor for module in modules]
    finally:
        for module, processor in zip(modules, before, strict=True):
            module.set_processor(processor)


def _weights(attn: Any, hidden_states: Any, encoder_hidden_states: Any) -> torch.Tensor:
    query = attn.head_to_batch_dim(attn.to_q(hidden_states))
    key = attn.head_to_batch_dim(attn.to_k(hidden_states if encoder_hidden_states is None else encoder_hidden_states))
    weights: torch.Tensor = attn.get_attention_scores(query, key)
    return weights
