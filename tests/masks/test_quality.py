from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.masks.quality import class_quality, covered_share, iou, separation, stability


def square(side: int) -> np.ndarray:
    mask = np.zeros((10, 10), bool)
    mask[:side, :side] = True
    return mask


def test_a_cliff_is_stable_and_a_slope_is_not() -> None:
    assert stability(square(4).astype(np.float32), 0.5) == 1.0
    slope = np.tile(np.arange(10, dtype=np.float32) / 9, (10, 1))
    # at 0.5 ± 0.1 the columns from 6/9 and from 4/9 on: 4 of 6
    assert stability(slope, 0.5) == pytest.approx(4 / 6)
    assert stability(np.zeros((2, 2), np.float32), 0.5) == 0.0


def test_quality_is_the_mean_of_what_should_agree() -> None:
    heat = square(4).astype(np.float32)
    known = {"heat_map": heat, "threshold": 0.5}
    assert class_quality(square(4), square(4), **known) == 1.0
    assert class_quality(square(4), square(2), **known) == pytest.approx((4 / 16 + 1) / 2)
    assert class_quality(square(4), square(4), **known, affinity_mask=square(8)) == pytest.approx((1 + 1 + 16 / 64) / 3)


@pytest.mark.parametrize("refined", [square(0), square(10)], ids=["nothing", "flooded"])
def test_nothing_and_everything_are_not_believed(refined: np.ndarray) -> None:
    assert class_quality(square(10), refined, heat_map=square(4).astype(np.float32), threshold=0.5) == 0.0


def test_without_a_background_a_class_may_fill_the_image() -> None:
    heat = square(9).astype(np.float32)
    assert class_quality(square(9), square(10), heat_map=heat, threshold=0.5, fills=True) == pytest.approx(
        (0.81 + 1) / 2
    )


def test_iou_of_nothing() -> None:
    assert iou(square(0), square(0)) == 0.0


def test_covered_share_counts_classes_and_not_unsure_pixels() -> None:
    label = np.array([[0, 1, 2, 255], [0, 0, 0, 0]], np.uint8)
    assert covered_share(label) == 0.25


def test_how_far_a_heat_map_separates_two_masks() -> None:
    heat = np.array([[0.9, 0.8, 0.5, 0.1]], np.float32)
    inside, outside = np.array([[True, True, False, False]]), np.array([[False, False, True, True]])
    assert separation(heat, inside=inside, outside=outside) == 1.0
    assert separation(heat, inside=outside, outside=inside) == 0.0
    assert separation(np.zeros_like(heat), inside=inside, outside=outside) == 0.5
    assert (
        separation(heat, inside=np.array([[True, False, True, False]]), outside=np.array([[False, True, False, True]]))
        == 0.75
    )
    assert separation(heat, inside=np.zeros_like(inside), outside=outside) == 1.0
