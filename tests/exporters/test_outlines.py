import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from diffumask_datasets.exporters.outlines import draw_polygon, outline, parts_of
from tests.helpers.made_datasets import extreme_maps, instance_maps


def drawn(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    canvas = Image.new("L", (width, height), 0)
    draw_polygon(canvas, outline(mask), 1)
    return np.asarray(canvas) > 0


@given(instance_maps(most=3))
def test_a_connected_mask_comes_back_exactly_holes_and_all(instances: np.ndarray) -> None:
    for part in parts_of(instances == 1):
        np.testing.assert_array_equal(drawn(part), part)


@given(instance_maps(most=3))
def test_separate_parts_lose_no_pixel_and_gain_bridges_only(instances: np.ndarray) -> None:
    mask = instances == 1
    if mask.any():
        found = drawn(mask)
        assert (found | ~mask).all()
        # Each bridge is no longer than the image is wide and high.
        assert (found & ~mask).sum() <= (len(parts_of(mask)) - 1) * sum(mask.shape)


@pytest.mark.parametrize("name", sorted(set(extreme_maps()) - {"all unsure", "nothing", "comb"}))
def test_extreme_masks(name: str) -> None:
    mask = extreme_maps()[name] == 1
    np.testing.assert_array_equal(drawn(mask), mask)


def test_a_square_has_four_corners_and_a_pixel_three_points() -> None:
    assert sorted(outline(np.pad(np.ones((3, 4), bool), 1))) == [(1, 1), (1, 3), (4, 1), (4, 3)]
    assert outline(np.pad(np.ones((1, 1), bool), 2)) == [(2, 2)] * 3


def test_a_bridge_takes_the_cheap_way() -> None:
    mask = np.zeros((5, 7), bool)
    mask[:, 0] = mask[:, 6] = True
    costs = np.full((5, 7), 100.0)
    costs[4] = 1.0
    height, width = mask.shape
    canvas = Image.new("L", (width, height), 0)
    draw_polygon(canvas, outline(mask, costs=costs), 1)
    np.testing.assert_array_equal(np.asarray(canvas)[4], 1)
    assert np.asarray(canvas)[:4, 2:5].sum() == 0
