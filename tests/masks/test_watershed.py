from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from diffumask_datasets.masks.components import separate_instances
from diffumask_datasets.masks.watershed import part_touching


def discs(*centres: tuple[int, int, int], shape: tuple[int, int] = (60, 90)) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.any([(rows - y) ** 2 + (columns - x) ** 2 < r * r for y, x, r in centres], axis=0)


@pytest.mark.parametrize("radii", [(15, 15), (15, 12)])
def test_two_discs_that_touch_are_two(radii: tuple[int, int]) -> None:
    one, other = radii
    mask = discs((30, 25, one), (30, 25 + one + other - 1, other))
    labels, count = part_touching(mask)
    assert count == 2
    assert np.array_equal(labels > 0, mask)
    for number, (y, x, r) in enumerate([(30, 25, one), (30, 25 + one + other - 1, other)], start=1):
        truth = discs((y, x, r))
        found = labels == labels[y, x]
        assert np.count_nonzero(found & truth) / np.count_nonzero(found | truth) > 0.95
        assert labels[y, x] == number


def test_three_in_a_row_are_three() -> None:
    assert part_touching(discs((30, 16, 12), (30, 39, 12), (30, 62, 12)))[1] == 3


@pytest.mark.parametrize(
    "mask",
    [
        discs((30, 40, 20)),
        discs((30, 30, 16), (30, 44, 16)),  # overlap too deep for a waist
        np.ones((20, 70), bool),
        discs((20, 45, 14)) | (np.abs(np.arange(90) - 45) < 2)[None] & (np.arange(60) > 30)[:, None],  # with a stem
    ],
    ids=["disc", "peanut", "bar", "balloon"],
)
def test_one_body_stays_one(mask: npt.NDArray[np.bool_]) -> None:
    assert part_touching(mask)[1] == 1


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_every_pixel_of_a_component_gets_one_label(mask: npt.NDArray[np.bool_]) -> None:
    components, found = ndimage.label(mask, structure=np.ones((3, 3)))
    for number in range(1, found + 1):
        member = components == number
        labels, count = part_touching(member)
        assert np.array_equal(labels > 0, member)
        assert set(np.unique(labels[member])) == set(range(1, count + 1))


def test_touching_objects_become_instances_where_each_is_large_enough() -> None:
    labels = discs((30, 25, 15), (30, 53, 15)).astype(np.intp)
    unsure = np.zeros(labels.shape, bool)
    separate = lambda area, split: separate_instances(  # noqa: E731
        labels, unsure, class_ids=[7], min_area=area, part=(lambda mask, box: part_touching(mask)) if split else None
    )[1]
    assert separate(0.01, True).max() == 2
    assert separate(0.01, False).max() == 1
    assert separate(0.2, True).max() == 1
    np.testing.assert_array_equal(separate(0.01, True) > 0, labels > 0)
