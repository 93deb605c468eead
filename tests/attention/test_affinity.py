"""Self-attention as affinity: what is recorded, and what propagation does."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.attention.affinity import (
    SelfAttentionRecorder,
    affinity_grid,
    propagate,
    select_affinity_layers,
)
from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

GRID = (2, 3)


def call(seed: int, *, name: str = "a", rows: int = 2, tokens: int = 6) -> AttentionCall:
    noise = torch.Generator().manual_seed(seed)
    query, key = (torch.randn(rows, 2, tokens, 4, generator=noise) for _ in range(2))
    return AttentionCall(name, query, key, None, 0.5)


def eager(seen: AttentionCall, row: int) -> torch.Tensor:
    return (seen.query[row] @ seen.key[row].transpose(1, 2) * seen.scale).softmax(dim=2).mean(dim=0)


@pytest.mark.parametrize("chunk_logits", [1, 30, 2**22])
def test_the_mean_over_heads_layers_and_steps_whatever_the_chunk(chunk_logits):
    recorder = SelfAttentionRecorder({"a": GRID, "b": GRID}, 2, chunk_logits=chunk_logits)
    calls = [call(0), call(1, name="b"), call(2)]
    for seen in calls:
        recorder.record(seen, [0, 0])
    for image, affinities in enumerate(recorder.affinities()):
        expected = torch.stack([eager(seen, image) for seen in calls]).mean(dim=0)
        torch.testing.assert_close(affinities[GRID], expected)
        torch.testing.assert_close(affinities[GRID].sum(dim=1), torch.ones(6))


def test_memory_does_not_depend_on_the_number_of_calls():
    recorder = SelfAttentionRecorder({"a": GRID}, 1)
    for seed in range(20):
        recorder.record(call(seed, rows=1), [0])
    assert sum(total.numel() for sums in recorder._sums for total in sums.values()) == 36


def test_refusals():
    recorder = SelfAttentionRecorder({"a": GRID}, 1)
    with pytest.raises(CaptureError, match="no self-attention was seen in 1 layers; try affinity=None"):
        recorder.affinities()
    with pytest.raises(CaptureError, match="'a' attends in 1 rows from 5 to 5 tokens, expected 1 rows of 2x3"):
        recorder.record(call(0, rows=1, tokens=5), [0])
    broken = call(0, rows=1)
    broken.query[0, 0, 0, 0] = torch.nan
    recorder.record(broken, [0])
    with pytest.raises(ModelError, match="self-attention is NaN"):
        recorder.affinities()


def test_in_joint_attention_it_is_the_part_from_image_to_image():
    """Two text tokens before the image and one, hidden in the second row, after it."""
    noise = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 6, 4, generator=noise), torch.randn(2, 2, 9, 4, generator=noise)
    mask = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    mask[1, ..., -1] = False
    recorder = SelfAttentionRecorder({"a": GRID}, 2)
    recorder.record(AttentionCall("a", query, key, mask, 0.5), [2, 2])
    for image, affinities in enumerate(recorder.affinities()):
        logits = (query[image] @ key[image].transpose(1, 2) * 0.5)[:, :, : 9 - image]
        block = logits.softmax(dim=2).mean(dim=0)[:, 2:8]
        torch.testing.assert_close(affinities[GRID], block / block.sum(dim=1, keepdim=True))


@pytest.mark.parametrize(("text", "hides"), [(0, False), (3, False), (3, True)])
def test_large_grids_are_read_between_averages_of_neighbours(text, hides):
    """An odd grid whose neighbours are alike, so that nothing is lost: each token has the affinity of all it stands for."""
    grid, coarse = (61, 64), (31, 32)
    assert affinity_grid(grid) == coarse
    noise = torch.Generator().manual_seed(0)

    def spread():
        tokens = torch.randn(1, 2, *coarse, 4, generator=noise)
        fine = tokens.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[:, :, : grid[0]]
        return tokens.flatten(2, 3), fine.flatten(2, 3)

    (query, fine_query), (key, fine_key) = spread(), spread()
    before = torch.randn(1, 2, text, 4, generator=noise)
    mask = torch.cat([torch.full((1, 1, 1, text), -torch.inf), torch.zeros(1, 1, 1, 61 * 64)], dim=3) if hides else None
    recorder = SelfAttentionRecorder({"a": grid}, 1)
    recorder.record(AttentionCall("a", fine_query, torch.cat([before, fine_key], dim=2), mask, 0.5), [text])
    affinity = recorder.affinities()[0][grid]
    heights = torch.tensor([2.0] * 30 + [1.0])  # rows of tokens that one stands for
    stands_for = (heights[:, None] * torch.full((32,), 2.0)).flatten()
    logits = query[0] @ torch.cat([before, key], dim=2)[0].transpose(1, 2) * 0.5
    weights = logits.exp() * torch.cat([torch.full((text,), 0.0 if hides else 1.0), stands_for])
    block = (weights / weights.sum(dim=2, keepdim=True)).mean(dim=0)[:, text:]
    torch.testing.assert_close(affinity, block / block.sum(dim=1, keepdim=True), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("grid", "kept"), [((32, 64), (32, 64)), ((64, 64), (32, 32)), ((128, 128), (43, 43))])
def test_memory_is_bounded_whatever_the_grid(grid, kept):
    assert affinity_grid(grid) == kept
    assert 4 * (kept[0] * kept[1]) ** 2 <= 16 * 2**20


def test_layers_are_chosen_by_their_grid():
    layers = {"fine": (64, 96), "middle": (32, 48), "coarse": (16, 24)}
    assert select_affinity_layers(layers, (16, 32)) == {"middle": (32, 48), "coarse": (16, 24)}
    assert select_affinity_layers(layers, None) == {"middle": (32, 48)}
    assert select_affinity_layers(layers, (64,)) == {"fine": (64, 96)}
    assert select_affinity_layers({"fine": (64, 96), "finer": (128, 192)}, None) == {"fine": (64, 96)}
    with pytest.raises(
        CaptureError, match=r"no self-attention to propagate by on affinity_grids \[8\]; .* has 16, 32, 64"
    ):
        select_affinity_layers(layers, (8,))


def test_a_spot_fills_its_region_and_stays_in_it():
    regions = torch.tensor([0, 0, 1, 0, 1, 1])
    same = (regions[:, None] == regions[None, :]).float()
    affinity = 0.9 * same / same.sum(dim=1, keepdim=True) + 0.1 / 6
    heat = torch.zeros(1, 2, 3)
    heat[0, 0, 0] = 1.0
    spread = propagate(heat, affinity, 3)
    torch.testing.assert_close(spread.flatten(), (regions == 0).float())
    assert propagate(heat, affinity, 1).shape == heat.shape
    with pytest.raises(ShapeError, match="expected an affinity of 6 tokens"):
        propagate(heat, torch.eye(5), 1)
