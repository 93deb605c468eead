"""Fusion on maps small enough to work out by hand."""

from __future__ import annotations

import pytest
import torch

from diffumask_datasets.attention.fusion import compete, fuse
from diffumask_datasets.attention.maps import AttentionMaps
from diffumask_datasets.errors import CaptureError, ModelError, ShapeError


def maps(grids, counts=None, categories=("car",)):
    return AttentionMaps(categories, grids, counts or dict.fromkeys(grids, 1))


def test_image_sized_grids_are_averaged_by_count_and_divided_by_the_maximum():
    flat = torch.tensor([[[0.5, 0.5]]])
    peaked = torch.tensor([[[0.0, 1.0]]]).repeat(1, 2, 1)
    fused = fuse(maps({(1, 2): flat, (2, 2): peaked}, {(1, 2): 3, (2, 2): 1}), height=2, width=2)
    # (3 * 0.5 + 0) / 4 = 0.375 and (3 * 0.5 + 1) / 4 = 0.625
    torch.testing.assert_close(fused, torch.tensor([[[0.6, 1.0], [0.6, 1.0]]]))


def test_each_class_has_maximum_one_and_stays_in_range():
    torch.manual_seed(0)
    fused = fuse(maps({(4, 4): torch.rand(2, 4, 4) * 0.3}, categories=("car", "boat")), height=32, width=32)
    assert fused.dtype is torch.float32
    assert fused.amax(dim=(1, 2)).tolist() == [1.0, 1.0]
    assert fused.min() >= 0


def test_height_and_width_are_not_swapped():
    bottom_left = torch.zeros(1, 4, 8)
    bottom_left[0, 3, 0] = 1
    fused = fuse(maps({(4, 8): bottom_left}), height=16, width=32)
    assert tuple(fused.shape) == (1, 16, 32)
    row, column = divmod(int(fused[0].argmax()), 32)
    assert row >= 12
    assert column < 4


def test_input_is_not_changed():
    grid = torch.full((1, 2, 2), 0.5)
    fuse(maps({(2, 2): grid}), height=2, width=2)
    assert grid.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


@pytest.mark.parametrize(
    ("grids", "error", "message"),
    [
        ({}, ShapeError, "expected a positive size and some grids, got 8x8 and 0 grids"),
        ({(2, 3): torch.ones(1, 3, 2)}, ShapeError, r"expected maps of grid \(2, 3\), got \(3, 2\)"),
        ({(2, 2): torch.zeros(1, 2, 2)}, CaptureError, "the heat map of class 'car' is zero everywhere"),
        ({(2, 2): torch.full((1, 2, 2), torch.nan)}, ModelError, "the heat map of class 'car' is NaN"),
    ],
)
def test_refusals(grids, error, message):
    with pytest.raises(error, match=message):
        fuse(maps(grids), height=8, width=8)


def test_competing_classes_share_the_heat_of_each_pixel():
    heat = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(compete(heat, 4.0).sum(dim=0), heat.amax(dim=0))


def test_a_class_that_is_hot_everywhere_wins_only_where_it_is_hottest_by_its_own_measure():
    # Left object, right object, ground. The first class outshines the second even on the second's own object.
    heat = torch.tensor([[[1.0, 0.8, 0.1]], [[0.3, 0.7, 0.1]]])
    shared = compete(heat, 8.0)
    assert shared[0].argmax() == 0
    assert shared[1].argmax() == 1
    assert shared[1, 0, 1] > 0.7
    assert shared[1, 0, 0] < 0.1


def test_a_class_alone_has_no_competitor():
    maps = AttentionMaps(("car",), {(2, 2): torch.tensor([[[1.0, 0.5], [0.2, 0.1]]])}, {(2, 2): 1})
    plain = fuse(maps, height=2, width=2)
    torch.testing.assert_close(fuse(maps, height=2, width=2, competition=8.0), plain)
