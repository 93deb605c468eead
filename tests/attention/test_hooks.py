"""The tap sees every attention of its modules, changes no output and always leaves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import _len_torch_function_stack

from diffumask_datasets.attention.hooks import AttentionCall, hook_attention
from diffumask_datasets.errors import CaptureError


class Attend(nn.Module):
    """Calls torch's attention with the arguments it is told."""

    def forward(self, *args, fail=None, **kwargs):
        if fail is not None:
            raise fail
        return F.scaled_dot_product_attention(*args, **kwargs)


def tensors():
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)


def hook_counts(module):
    return len(module._forward_pre_hooks), len(module._forward_hooks), _len_torch_function_stack()


def test_reads_positional_and_keyword_arguments_alike():
    query, key, value = tensors()
    mask = torch.zeros(5, 7)
    module, seen = Attend(), []
    with hook_attention({"cross": module}, seen.append):
        module(query, key, value, mask, 0.0, False, scale=0.25)
        module(query=query, key=key, value=value, attn_mask=mask, scale=0.25)
        module(query, key, value)
    assert [(call.name, call.query is query, call.key is key) for call in seen] == [("cross", True, True)] * 3
    assert [call.scale for call in seen] == [0.25, 0.25, 0.5]
    assert [call.mask is mask for call in seen] == [True, True, False]


def test_output_is_bit_identical():
    query, key, value = tensors()
    module = Attend()
    plain = module(query, key, value)
    with hook_attention({"cross": module}, lambda call: call.query.sum()):
        assert torch.equal(module(query, key, value), plain)


def test_other_modules_and_closed_moments_are_not_seen():
    query, key, value = tensors()
    tapped, other, seen = Attend(), Attend(), []
    is_open = False
    with hook_attention({"cross": tapped}, seen.append, when=lambda: is_open):
        other(query, key, value)
        tapped(query, key, value)
        assert seen == []
        is_open = True
        tapped(query, key, value)
    assert len(seen) == 1


@pytest.mark.parametrize("error", [ValueError("inside"), KeyboardInterrupt()])
def test_nothing_is_left_when_the_module_raises(error):
    module = Attend()
    with pytest.raises(type(error)), hook_attention({"cross": module}, lambda call: None):
        module(fail=error)
    assert hook_counts(module) == (0, 0, 0)


def test_nothing_is_left_when_the_listener_raises():
    module = Attend()

    def listener(call: AttentionCall) -> None:
        raise CaptureError("stop")

    with pytest.raises(CaptureError, match="stop"), hook_attention({"cross": module}, listener):
        module(*tensors())
    assert hook_counts(module) == (0, 0, 0)


def test_nothing_is_left_when_the_next_hook_cannot_be_set():
    good, bad = Attend(), object()
    with pytest.raises(AttributeError), hook_attention({"good": good, "bad": bad}, lambda call: None):  # type: ignore[dict-item]
        pytest.fail("the block must not run")
    assert hook_counts(good) == (0, 0, 0)


def test_nothing_is_left_after_success():
    module = Attend()
    with hook_attention({"cross": module}, lambda call: None):
        assert hook_counts(module) == (1, 1, 0)
        module(*tensors())
    assert hook_counts(module) == (0, 0, 0)


def test_causal_attention_is_refused():
    query, _, _ = tensors()
    module = Attend()
    with (
        pytest.raises(CaptureError, match=r"'text' is causal; choose the modules where the image attends to the text"),
        hook_attention({"text": module}, lambda call: None),
    ):
        module(query, query, query, is_causal=True)
