from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from diffumask_datasets.errors import ShapeError
from diffumask_datasets.masks import rle

Mask = npt.NDArray[np.bool_]
masks = arrays(np.bool_, st.tuples(st.integers(1, 17), st.integers(1, 23)))


def ring() -> Mask:
    mask = np.zeros((7, 11), bool)
    mask[1:6, 2:9] = True
    mask[3, 4:7] = False
    return mask


@given(masks)
def test_decode_undoes_encode(mask: Mask) -> None:
    assert rle.decode(rle.encode(mask)).tolist() == mask.tolist()


@given(masks)
def test_area_and_box_are_those_of_the_pixels(mask: Mask) -> None:
    encoded = rle.encode(mask)
    assert rle.area(encoded) == mask.sum()
    rows, columns = np.nonzero(mask)
    expected = (0.0,) * 4
    if len(rows):
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        expected = (float(columns.min()), float(rows.min()), float(width), float(height))
    assert rle.bbox_xywh(encoded) == expected


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 1)])
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full(shape: tuple[int, int], value: bool) -> None:
    encoded = rle.encode(np.full(shape, value))
    assert encoded["size"] == list(shape)
    assert rle.area(encoded) == value * shape[0] * shape[1]
    assert rle.decode(encoded).tolist() == np.full(shape, value).tolist()


def test_holes_stay_holes() -> None:
    encoded = rle.encode(ring())
    assert rle.area(encoded) == 5 * 7 - 3
    assert rle.bbox_xywh(encoded) == (2.0, 1.0, 7.0, 5.0)
    assert rle.decode(encoded)[3, 4:7].tolist() == [False] * 3


def test_runs_go_down_the_columns_from_zeros() -> None:
    mask = np.array([[False, True, True], [False, False, True]])
    foreign: Any = coco_mask.frPyObjects({"size": [2, 3], "counts": [2, 1, 1, 2]}, 2, 3)
    assert rle.encode(mask) == {"size": [2, 3], "counts": foreign["counts"].decode()}


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 1), bool)])
def test_anything_else_is_refused(mask: Any) -> None:
    with pytest.raises(ShapeError, match=r"mask: expected bool \(height, width\), got "):
        rle.encode(mask)


@given(instances=arrays(np.int32, st.tuples(st.integers(1, 17), st.integers(1, 23)), elements=st.integers(0, 5)))
def test_all_instances_at_once_are_what_each_is_alone(instances: npt.NDArray[np.int32]) -> None:
    encoded = rle.encode_instances(instances, 5)
    assert encoded == [rle.encode(instances == number) for number in range(1, 6)]
