"""Where image and text stand in a sequence, and narrowing a call to rows and image tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.layout import CROSS, Layout, TextTokens, narrow
from diffumask_datasets.errors import CaptureError

TEXT = TextTokens({"car": (2, 3)}, 6)


@pytest.mark.parametrize(
    ("layout", "keys", "first_query"),
    [
        (CROSS, (2, 3), 0),
        (Layout("text first"), (2, 3), 30),
        (Layout("text first", registers=8), (10, 11), 30),
        (Layout("text first", packed=True), (2, 3), 6),
        (Layout("image first"), (22, 23), 0),
        (Layout("image first", image_multiple=32), (34, 35), 0),
    ],
)
def test_places_in_a_sequence_of_50_with_20_image_tokens(layout, keys, first_query):
    assert layout.keys(TEXT, 20).token_indices == {"car": keys}
    assert layout.first_query(TEXT, 20, 50) == first_query


def call(mask=None, *, rows=4, heads=2, key_heads=2, tokens=9):
    torch.manual_seed(0)
    query, key = torch.randn(rows, heads, tokens, 3), torch.randn(rows, key_heads, tokens, 3)
    return AttentionCall("a", query, key, mask, 1.0)


def test_rows_and_queries_are_cut_and_keys_kept():
    whole = call()
    part = narrow(whole, slice(2, 4), [3, 3], 5)
    assert torch.equal(part.query, whole.query[2:4, :, 3:8])
    assert torch.equal(part.key, whole.key[2:4])
    assert part.mask is None
    assert part.query.data_ptr() == whole.query[2:4, :, 3:8].data_ptr()  # a view: nothing is copied


def test_each_row_may_start_elsewhere():
    whole = call()
    part = narrow(whole, slice(0, 2), [1, 4], 5)
    assert torch.equal(part.query[0], whole.query[0, :, 1:6])
    assert torch.equal(part.query[1], whole.query[1, :, 4:9])


@given(
    rows=st.integers(1, 3),
    before=st.integers(0, 3),
    starts=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    shape=st.sampled_from([(1, 1), (1, 9), (2, 1), (2, 9)]),
    all_rows=st.booleans(),
)
def test_masks_follow_their_rows_and_queries(rows, before, starts, shape, all_rows):
    """Narrowing, then broadcasting, equals broadcasting, then narrowing."""
    heads, queries = shape
    mask = torch.rand(before + rows if all_rows else 1, heads, queries, 9)
    whole = call(mask, rows=before + rows)
    part = narrow(whole, slice(before, before + rows), starts[:rows], 5)
    broadcast = mask.expand(before + rows, 2, 9, 9)[before:]
    for row, start in enumerate(starts[:rows]):
        expected = broadcast[row, :, start : start + 5]
        assert torch.equal(part.mask.expand(rows, 2, 5, 9)[row], expected)


def test_shared_key_heads_are_repeated():
    whole = call(heads=4, key_heads=2)
    assert torch.equal(narrow(whole, slice(0, 1), [0], 9).key[0], whole.key[0, [0, 0, 1, 1]])


@pytest.mark.parametrize(("rows", "starts", "tokens"), [(slice(2, 5), [0, 0, 0], 9), (slice(0, 1), [5], 5)])
def test_other_shapes_than_declared(rows, starts, tokens):
    with pytest.raises(CaptureError, match=r"attention layer 'a' has \d rows of 9 queries where .* correct the layout"):
        narrow(call(), rows, starts, tokens)
