from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffumask_datasets.errors import ShapeError
from diffumask_datasets.masks.components import separate_instances

Labels = npt.NDArray[np.intp]


def grid(*rows: str) -> Labels:
    return np.array([[int(cell) for cell in row] for row in rows], dtype=np.intp)


def separate(
    labels: Labels, *, unsure: Labels | None = None, class_ids: tuple[int, ...] = (7, 3), min_area: float = 0.0
) -> tuple[list[list[int]], list[list[int]]]:
    band = np.zeros(labels.shape, bool) if unsure is None else unsure.astype(bool)
    semantic, instances = separate_instances(labels, band, class_ids=class_ids, min_area=min_area)
    assert (semantic.dtype, instances.dtype) == (np.uint8, np.uint16)
    return semantic.tolist(), instances.tolist()


def test_each_component_is_an_instance_in_the_order_of_classes_then_rows() -> None:
    semantic, instances = separate(grid("20011", "00000", "11022"))
    assert semantic == grid("30077", "00000", "77033").tolist()
    assert instances == grid("30011", "00000", "22044").tolist()


def test_corners_touch() -> None:
    assert separate(grid("100", "010"))[1] == grid("100", "010").tolist()


def test_small_components_become_background_and_take_no_id() -> None:
    # 2 of 20 pixels are a tenth of the image
    semantic, instances = separate(grid("10011", "00000", "22202", "00000"), min_area=0.1)
    assert semantic == grid("00077", "00000", "33300", "00000").tolist()
    assert instances == grid("00011", "00000", "22200", "00000").tolist()


def test_unsure_pixels_are_255_and_in_no_instance() -> None:
    semantic, instances = separate(grid("01110", "00000"), unsure=grid("11001", "00000"))
    assert semantic == [[255, 255, 7, 7, 255], [0] * 5]
    assert instances == [[0, 0, 1, 1, 0], [0] * 5]


def test_the_band_around_a_dropped_component_goes_with_it() -> None:
    semantic, _ = separate(
        grid("0100000", "0000011", "0000011"), unsure=grid("1010000", "0000000", "0000000"), min_area=4 / 21
    )
    assert semantic == grid("0000000", "0000077", "0000077").tolist()


def test_a_component_large_only_with_its_unsure_pixels_is_ignored_as_a_whole() -> None:
    semantic, instances = separate(grid("1111", "0000"), unsure=grid("1110", "0000"), min_area=0.25)
    assert semantic == [[255] * 4, [0] * 4]
    assert not np.any(instances)


def test_all_foreground_is_one_instance() -> None:
    semantic, instances = separate(np.ones((3, 5), np.intp))
    assert semantic == [[7] * 5] * 3
    assert instances == [[1] * 5] * 3


def test_more_instances_than_16_bits_hold() -> None:
    labels = np.zeros((512, 520), np.intp)
    labels[::2, ::2] = 1  # 66560 single pixels
    with pytest.raises(ShapeError, match="expected at most 65535, got 66560; raise min_area"):
        separate(labels)


@given(arrays(np.intp, (9, 13), elements=st.integers(0, 2)), arrays(np.bool_, (9, 13)), st.floats(0, 0.2))
def test_every_instance_is_one_class_and_large_enough(
    labels: Labels, unsure: npt.NDArray[np.bool_], min_area: float
) -> None:
    semantic, instances = separate_instances(labels, unsure, class_ids=(7, 3), min_area=min_area)
    assert set(np.unique(semantic)) <= {0, 3, 7, 255}
    assert np.array_equal(instances > 0, (semantic > 0) & (semantic < 255))
    assert np.unique(instances[instances > 0]).tolist() == list(range(1, int(instances.max()) + 1))
    for instance_id in range(1, int(instances.max()) + 1):
        assert len(np.unique(semantic[instances == instance_id])) == 1
        assert np.count_nonzero(instances == instance_id) >= min_area * 117
    assert not np.any((semantic > 0) & (semantic < 255) & unsure)
