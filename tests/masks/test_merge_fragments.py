from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffumask_datasets.masks.merge_fragments import join_limbs

Labels = npt.NDArray[np.intp]

SIDE = 100
"""Reach is 3 pixels of it."""


def boxes(*corners: tuple[int, int, int, int]) -> tuple[Labels, int]:
    """Components given as (top, left, bottom, right)."""
    components = np.zeros((SIDE, SIDE), np.intp)
    for number, (top, left, bottom, right) in enumerate(corners, start=1):
        components[top:bottom, left:right] = number
    return components, len(corners)


def ids(joined: tuple[Labels, int], *pixels: tuple[int, int]) -> list[int]:
    return [int(joined[0][pixel]) for pixel in pixels]


def test_a_small_piece_beside_a_body_is_its_limb() -> None:
    joined = join_limbs(*boxes((10, 10, 30, 30), (32, 15, 40, 25)), smallest=1)
    assert joined[1] == 1
    assert ids(joined, (10, 10), (35, 20), (31, 20)) == [1, 1, 0]


def test_two_of_like_size_stay_two_however_near() -> None:
    joined = join_limbs(*boxes((10, 10, 30, 30), (32, 10, 42, 30)), smallest=1)
    assert joined[1] == 2


def test_a_small_piece_out_of_reach_is_an_object() -> None:
    components, count = boxes((10, 10, 30, 30), (33, 15, 40, 25))
    assert join_limbs(components, count, smallest=1)[1] == 2  # the nearest pixels are 4 apart
    near, _ = boxes((10, 10, 30, 30), (32, 15, 40, 25))
    assert join_limbs(near, count, smallest=1)[1] == 1


def test_a_limb_of_a_limb_belongs_to_the_body() -> None:
    joined = join_limbs(*boxes((10, 10, 40, 40), (41, 10, 51, 30), (52, 12, 57, 20)), smallest=1)
    assert joined[1] == 1
    assert ids(joined, (10, 10), (45, 12), (55, 15)) == [1, 1, 1]


def test_the_larger_of_two_bodies_has_the_limb() -> None:
    joined = join_limbs(*boxes((10, 10, 30, 24), (10, 34, 30, 64), (12, 26, 18, 32)), smallest=1)
    assert joined[1] == 2
    assert ids(joined, (10, 10), (10, 34), (14, 28)) == [1, 2, 2]


def test_ids_stay_in_the_order_of_rows() -> None:
    joined = join_limbs(*boxes((5, 60, 9, 64), (10, 10, 30, 30), (11, 60, 31, 80)), smallest=1)
    assert joined[1] == 2
    assert ids(joined, (6, 61), (12, 70), (15, 15)) == [1, 1, 2]


def test_what_is_too_small_to_be_kept_is_no_limb() -> None:
    joined = join_limbs(*boxes((10, 10, 30, 30), (32, 15, 34, 17)), smallest=5)
    assert joined[1] == 2
    assert np.count_nonzero(joined[0] == joined[0][32, 15]) == 4


@given(arrays(np.intp, (30, 40), elements=st.sampled_from([0] * 6 + [1, 2, 3, 4])), st.integers(0, 20))
def test_pixels_and_components_stay_whole(components: Labels, smallest: int) -> None:
    present = np.unique(components[components > 0])
    dense = np.searchsorted(present, components) + 1
    dense[components == 0] = 0
    joined, count = join_limbs(dense, len(present), smallest=smallest)
    assert np.array_equal(joined > 0, dense > 0)
    assert sorted(set(joined[joined > 0].tolist())) == list(range(1, count + 1))
    for number in range(1, len(present) + 1):
        assert len(np.unique(joined[dense == number])) == 1
