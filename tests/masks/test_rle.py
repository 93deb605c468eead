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
    assert rle.decode(rle.encode(mask), mask.shape).tolist() == mask.tolist()


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
    assert rle.decode(encoded, shape).tolist() == np.full(shape, value).tolist()


def test_holes_stay_holes() -> None:
    encoded = rle.encode(ring())
    assert rle.area(encoded) == 5 * 7 - 3
    assert rle.bbox_xywh(encoded) == (2.0, 1.0, 7.0, 5.0)
    assert rle.decode(encoded, (7, 11))[3, 4:7].tolist() == [False] * 3


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


def runs_of(mask: Mask) -> list[int]:
    """Lengths of the runs down the columns, counted pixel by pixel."""
    runs, last = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_compressed_and_uncompressed_counts_as_text_bytes_and_list(mask: Mask) -> None:
    encoded, size = rle.encode(mask), list(mask.shape)
    for counts in (encoded["counts"], encoded["counts"].encode(), runs_of(mask)):
        assert rle.checked({"size": size, "counts": counts}, mask.shape) == encoded
        np.testing.assert_array_equal(rle.decode({"size": size, "counts": counts}, mask.shape), mask)


def test_runs_of_no_length_are_left_out() -> None:
    odd = {"size": [2, 3], "counts": [1, 2, 0, 1, 2, 0]}
    assert rle.decode(odd, (2, 3)).tolist() == [[False, True, False], [True, True, False]]
    packed = coco_mask.frPyObjects(odd, 2, 3)
    for given_counts in (odd, {"size": [2, 3], "counts": packed["counts"]}):
        tidy = rle.checked(given_counts, (2, 3))
        assert runs_of(rle.decode(tidy, (2, 3))) == [1, 3, 2]
        assert tidy == rle.encode(rle.decode(odd, (2, 3)))
        assert (rle.area(tidy), rle.bbox_xywh(tidy)) == (3, (0.0, 0.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [128, 128], "counts": "11"}, "the runs cover 2 pixels of 16384"),
        ({"size": [2147483647, 2147483647], "counts": "11"}, "expected a mask of .*, got size .2147483647, 2147483647"),
        ({"size": [128, 64], "counts": "`00o7"}, "expected a mask of"),
        ({"size": [128, 128], "counts": ""}, "no counts that pycocotools writes"),
        ({"size": [128, 128], "counts": "1" + "o" * 5}, "no counts that pycocotools writes"),  # the last goes on
        ({"size": [128, 128], "counts": "oooooooo0"}, "no counts that pycocotools writes"),  # over 32 bits
        ({"size": [128, 128], "counts": "\x00é"}, "no counts that pycocotools writes"),
        ({"size": [128, 128], "counts": b"\xff\xfe"}, "no counts that pycocotools writes"),
        ({"size": [128, 128], "counts": "P`00000P`000"}, "negative|cover"),
        ({"size": [128, 128], "counts": [16384, -1, 1]}, "expected counts as text or as run lengths"),
        ({"size": [128, 128], "counts": [2**40]}, "expected counts as text or as run lengths"),
        ({"size": [128, 128], "counts": [16383]}, "the runs cover 16383 pixels"),
        ({"size": [128, 128], "counts": None}, "expected counts as text or as run lengths, got None"),
        ({"size": [128], "counts": "11"}, "expected size .height, width., got .128."),
        ({"size": [True, 128], "counts": "11"}, "expected size"),
        ({"size": None, "counts": "11"}, "expected size"),
        ({"size": [128, 128]}, "expected size and counts"),
        ([[0, 0, 4, 0, 4, 4]], "expected size and counts"),
        (None, "expected size and counts, got None"),
    ],
)
def test_what_is_no_encoding_of_the_mask_is_refused(segmentation: Any, message: str) -> None:
    for read in (rle.checked, rle.decode, rle.decode_columns):
        with pytest.raises(ShapeError, match=message):
            read(segmentation, (128, 128))


@given(counts=st.one_of(st.text(max_size=12), st.binary(max_size=12), st.lists(st.integers(-2, 40), max_size=8)))
def test_any_counts_are_refused_or_cover_every_pixel(counts: Any) -> None:
    try:
        mask = rle.decode({"size": [4, 5], "counts": counts}, (4, 5))
    except ShapeError:
        return
    tidy = rle.checked({"size": [4, 5], "counts": counts}, (4, 5))
    np.testing.assert_array_equal(rle.decode(tidy, (4, 5)), mask)
    assert (rle.area(tidy), rle.bbox_xywh(tidy)) == (rle.area(rle.encode(mask)), rle.bbox_xywh(rle.encode(mask)))


@given(mask=masks, place=st.integers(0, 10**6), character=st.integers(48, 111), cut=st.booleans())
def test_a_changed_character_is_refused_or_is_what_pycocotools_reads(
    mask: Mask, place: int, character: int, cut: bool
) -> None:
    counts = rle.encode(mask)["counts"]
    place %= len(counts)
    counts = counts[:place] if cut else counts[:place] + chr(character) + counts[place + 1 :]
    try:
        found = rle.decode({"size": list(mask.shape), "counts": counts}, mask.shape)
    except ShapeError:
        return
    theirs = coco_mask.decode({"size": list(mask.shape), "counts": counts.encode()})
    np.testing.assert_array_equal(found, theirs.astype(bool))
