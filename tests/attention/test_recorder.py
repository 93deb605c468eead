"""The recorder against full attention computed eagerly, and its refusals."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, select_layers
from diffumask_datasets.errors import CaptureError, ModelError
from tests.benchmarks.allocation import allocated_mb

GRID = (2, 3)
CAR = TextTokens({"car": (1,)}, 7)


def random_call(seed, *, rows=1, heads=3, tokens=6, keys=7, name="a", mask=None):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(rows, heads, tokens, 4, generator=generator)
    key = torch.randn(rows, heads, keys, 4, generator=generator)
    return AttentionCall(name, query, key, mask, 0.7)


def eager(call, row, tokens):
    """One (layer, step) map of a class, as the paper has it: (2, 3), maximum 1."""
    logits = torch.einsum("hqd,hkd->hqk", call.query[row], call.key[row]) * call.scale
    if call.mask is not None:
        logits = logits + call.mask[row]
    weights = torch.exp(logits) / torch.exp(logits).sum(dim=2, keepdim=True)
    heat = weights.mean(dim=0)[:, list(tokens)].mean(dim=1).reshape(GRID)
    return heat / heat.max()


def averaged(recorder):
    """All layers alike, one map a grid."""
    return [sums.by_grid({}) for sums in recorder.maps()]


@pytest.mark.parametrize("chunk_logits", [None, 1, 42, 2**22])
@pytest.mark.parametrize("with_mask", [False, True])
def test_equals_eager_full_attention(chunk_logits, with_mask):
    mask = torch.randn(2, 1, 1, 7) if with_mask else None
    calls = [random_call(seed, rows=2, mask=mask) for seed in range(3)]
    texts = [TextTokens({"car": (1,), "potted plant": (2, 3, 5)}, 7), TextTokens({"boat": (4,)}, 7)]
    recorder = CrossAttentionRecorder({"a": GRID}, texts, chunk_logits=chunk_logits)
    for step, call in enumerate(calls):
        recorder.begin_step(900 - step)
        recorder.record(call)
    first, second = averaged(recorder)
    assert first.categories == ("car", "potted plant")
    assert second.categories == ("boat",)
    assert first.counts == {GRID: 3}
    expected = {
        "car": torch.stack([eager(call, 0, (1,)) for call in calls]).mean(dim=0),
        "potted plant": torch.stack([eager(call, 0, (2, 3, 5)) for call in calls]).mean(dim=0),
        "boat": torch.stack([eager(call, 1, (4,)) for call in calls]).mean(dim=0),
    }
    for maps in (first, second):
        assert maps.grids[GRID].dtype is torch.float32
        for category, heat in zip(maps.categories, maps.grids[GRID], strict=True):
            torch.testing.assert_close(heat, expected[category], atol=1e-6, rtol=0)


def test_boolean_mask_hides_keys():
    shown = torch.tensor([True, True, False, True, True, True, True])
    call = random_call(0, rows=1, mask=shown)
    additive = random_call(0, rows=1, mask=torch.where(shown, 0.0, -torch.inf)[None, None, None])
    recorder = CrossAttentionRecorder({"a": GRID}, [CAR])
    recorder.begin_step(1)
    recorder.record(call)
    torch.testing.assert_close(averaged(recorder)[0].grids[GRID][0], eager(additive, 0, (1,)), atol=1e-6, rtol=0)


def test_layers_of_one_grid_are_averaged_and_grids_kept_apart():
    recorder = CrossAttentionRecorder({"a": GRID, "b": GRID, "c": (1, 2)}, [CAR])
    recorder.begin_step(1)
    recorder.record(random_call(0))
    recorder.record(random_call(1, name="b"))
    recorder.record(random_call(2, name="c", tokens=2))
    (maps,) = averaged(recorder)
    assert maps.counts == {GRID: 2, (1, 2): 1}
    mean = (eager(random_call(0), 0, (1,)) + eager(random_call(1), 0, (1,))) / 2
    torch.testing.assert_close(maps.grids[GRID][0], mean, atol=1e-6, rtol=0)


def test_the_range_of_timesteps_is_inclusive():
    recorder = CrossAttentionRecorder({"a": GRID}, [CAR], timesteps=(50, 550))
    for timestep in (551, 550, 300, 50, 49):
        recorder.begin_step(timestep)
        recorder.record(random_call(0))
    assert averaged(recorder)[0].counts == {GRID: 3}


def test_memory_does_not_depend_on_the_number_of_steps():
    def held(steps):
        recorder = CrossAttentionRecorder({"a": GRID}, [CAR])
        for _ in range(steps):
            recorder.begin_step(1)
            recorder.record(random_call(0))
        return sum(tensor.numel() for grids in recorder._sums for tensor in grids.values())

    assert held(1) == held(20) == 6


def test_the_largest_layer_of_stable_diffusion_takes_under_5_mb():
    call = AttentionCall("a", torch.randn(1, 8, 4096, 40), torch.randn(1, 8, 77, 40), None, 40**-0.5)

    def record(steps):
        recorder = CrossAttentionRecorder({"a": (64, 64)}, [TextTokens({"car": (6,)}, 77)])
        for _ in range(steps):
            recorder.begin_step(1)
            recorder.record(call)
        return recorder

    peaks = [allocated_mb(lambda steps=steps: record(steps))[0] for steps in (2, 6)]
    assert 1 < peaks[0] == peaks[1] <= 5


def test_no_call_seen():
    recorder = CrossAttentionRecorder({"a": GRID, "b": GRID}, [CAR])
    recorder.begin_step(1)
    with pytest.raises(CaptureError) as error:
        recorder.maps()
    assert str(error.value) == (
        "no scaled_dot_product_attention call was seen in 2 attention layers; switch the model to its native attention "
        "backend (no xformers, flash, sage or compiled blocks), or register its family with "
        "diffumask_datasets.diffusion.registry.register_family"
    )


def test_no_timestep_in_range():
    recorder = CrossAttentionRecorder({"a": GRID}, [CAR], timesteps=(0, 10))
    for timestep in (999, 499):
        recorder.begin_step(timestep)
        recorder.record(random_call(0))
    with pytest.raises(CaptureError) as error:
        recorder.maps()
    assert str(error.value) == (
        "attention_timesteps [0, 10] holds none of the timesteps that ran (499 to 999); "
        "widen it or raise num_inference_steps"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"rows": 3}, "'a' has 3 rows of 6 image tokens, expected 2 rows of 2x3"),
        ({"rows": 2, "tokens": 5}, "'a' has 2 rows of 5 image tokens, expected 2 rows of 2x3"),
        ({"rows": 2, "keys": 1}, r"class 'car' stands at tokens \[1\], but the layer has 1 keys"),
    ],
)
def test_other_shapes_than_declared(shape, message):
    recorder = CrossAttentionRecorder({"a": GRID}, [CAR, CAR])
    recorder.begin_step(1)
    with pytest.raises(CaptureError, match=message):
        recorder.record(random_call(0, **shape))


def test_nan_and_all_zero_maps_are_refused():
    def recorded(call):
        recorder = CrossAttentionRecorder({"a": GRID}, [CAR])
        recorder.begin_step(1)
        recorder.record(call)
        return recorder.maps()

    nan = random_call(0, rows=1)
    nan.query[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match="the attention of class 'car' on the 2x3 grid is NaN; try dtype='float32'"):
        recorded(nan)
    hidden = torch.tensor([True, False, True, True, True, True, True])
    with pytest.raises(CaptureError, match="class 'car' on the 2x3 grid is zero everywhere"):
        recorded(random_call(0, rows=1, mask=hidden))


def test_select_layers_by_the_shorter_side():
    layers = {"fine": (64, 96), "middle": (32, 48), "coarse": (16, 24)}
    assert select_layers(layers, (16, 64)) == {"fine": (64, 96), "coarse": (16, 24)}
    with pytest.raises(CaptureError) as error:
        select_layers(layers, (8, 24))
    assert str(error.value) == (
        "no cross-attention layer has a grid of attention_grids [8, 24]; this model at this size has 16, 32, 64"
    )
    with pytest.raises(CaptureError, match="has no cross-attention layer at all"):
        select_layers({}, (16,))
