"""Self-attention as affinity: what is recorded, and what propagation does."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.attention.affinity import SelfAttentionRecorder, propagate, select_affinity_layers
from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError

GRID = (2, 3)


def call(seed: int, *, name: str = "a", rows: int = 3, tokens: int = 6) -> AttentionCall:
    noise = torch.Generator().manual_seed(seed)
    query, key = (torch.randn(rows, 2, tokens, 4, generator=noise) for _ in range(2))
    return AttentionCall(name, query, key, None, 0.5)


def eager(seen: AttentionCall, row: int) -> torch.Tensor:
    return (seen.query[row] @ seen.key[row].transpose(1, 2) * seen.scale).softmax(dim=2).mean(dim=0)


@pytest.mark.parametrize("chunk_logits", [1, 30, 2**22])
def test_the_mean_over_heads_layers_and_steps_whatever_the_chunk(chunk_logits):
    recorder = SelfAttentionRecorder({"a": GRID, "b": GRID}, 2, first_row=1, chunk_logits=chunk_logits)
    calls = [call(0), call(1, name="b"), call(2)]
    for seen in calls:
        recorder.record(seen)
    for image, affinities in enumerate(recorder.affinities()):
        expected = torch.stack([eager(seen, 1 + image) for seen in calls]).mean(dim=0)
        torch.testing.assert_close(affinities[GRID], expected)
        torch.testing.assert_close(affinities[GRID].sum(dim=1), torch.ones(6))


def test_memory_does_not_depend_on_the_number_of_calls():
    recorder = SelfAttentionRecorder({"a": GRID}, 1)
    for seed in range(20):
        recorder.record(call(seed))
    assert sum(total.numel() for sums in recorder._sums for total in sums.values()) == 36


def test_refusals():
    recorder = SelfAttentionRecorder({"a": GRID}, 1)
    with pytest.raises(CaptureError, match="no self-attention was seen in 1 layers; try affinity=None"):
        recorder.affinities()
    with pytest.raises(CaptureError, match="'a' attends from 5 to 5 tokens, expected 2x3 each"):
        recorder.record(call(0, tokens=5))
    broken = call(0)
    broken.query[0, 0, 0, 0] = torch.nan
    recorder.record(broken)
    with pytest.raises(ModelError, match="self-attention is NaN"):
        recorder.affinities()


def test_layers_are_chosen_by_their_grid():
    layers = {"fine": (64, 96), "middle": (32, 48), "coarse": (16, 24)}
    assert select_affinity_layers(layers, (16, 32)) == {"middle": (32, 48), "coarse": (16, 24)}
    for wrong in ((8,), (64,)):
        with pytest.raises(CaptureError, match=r"no self-attention to propagate by .* has 16, 32 \(at most 32\)"):
            select_affinity_layers(layers, wrong)


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
