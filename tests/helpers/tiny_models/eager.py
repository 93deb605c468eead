"""Full attention recomputed eagerly while a pipeline runs, and every map kept: the reference for what is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F


@contextmanager
def eager_attention(denoiser: Any, names: list[str]) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Within the block the modules ``names`` compute softmax(q kᵀ) v themselves.

    Gives name → one (rows, queries, keys) a call, the mean over heads. Everything else runs as ever.
    """
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    inside: list[str] = []
    fused = F.scaled_dot_product_attention

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **options):
        if not inside:
            return fused(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **options)
        assert not is_causal
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        logits = torch.einsum("bhqd,bhkd->bhqk", query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype is torch.bool else logits + attn_mask
        exponents = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
        weights = exponents / exponents.sum(dim=-1, keepdim=True)
        maps[inside[-1]].append(weights.mean(dim=1))
        return weights @ value

    hooks = []
    for name in names:
        module = denoiser.get_submodule(name)
        hooks.append(module.register_forward_pre_hook(lambda module, args, name=name: inside.append(name)))
        hooks.append(module.register_forward_hook(lambda module, args, output: (inside.pop(), None)[1]))
    try:
        with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention):
            yield maps
    finally:
        for hook in hooks:
            hook.remove()
