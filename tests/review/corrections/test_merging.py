"""From an edit to a row: what stays, what is new, which object new pixels belong to."""

import numpy as np
import pytest

from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.masks.rle import decode, encode
from diffumask_datasets.review.corrections.edit import Edit, class_id_of
from diffumask_datasets.review.corrections.merging import merged_row
from tests.helpers.made_datasets import made_row, row_of_instances


def strip(*columns: int) -> np.ndarray:
    mask = np.zeros((2, 8), dtype=bool)
    mask[:, list(columns)] = True
    return mask


def label_after(label: list[int], before: list, after: list) -> list[int]:
    """The first row of the semantic mask of a sample whose objects were edited."""
    row = merged_row(made_row(np.array([label] * 2, np.uint8), before), Edit(after))
    assert row is not None
    found: list[int] = decode_label(row["label"])[0].tolist()
    return found


def test_pixels_that_no_object_held_or_holds_stay() -> None:
    label = [1, 1, 0, 255, 3, 3, 0, 255]
    assert label_after(label, [(1, strip(0, 1))], [(2, strip(1, 2))]) == [0, 2, 2, 255, 3, 3, 0, 255]
    assert label_after(label, [(1, strip(0, 1))], [(1, strip(0, 1)), (2, strip(3, 4))]) == [1, 1, 0, 2, 2, 3, 0, 255]


def test_unsure_pixels_under_a_deleted_object_stay_unsure() -> None:
    assert label_after([255, 1, 0, 0, 0, 0, 0, 0], [(1, strip(0, 1))], []) == [255, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("front", [1, 2])
def test_the_object_in_front_stays_in_front(front: int) -> None:
    label = [1, 1, 1, front, 2, 2, 0, 0]
    objects = [(1, strip(0, 1, 2, 3)), (2, strip(3, 4, 5))]
    assert label_after(label, objects, [objects[0], (2, strip(3, 4, 5, 6))]) == [1, 1, 1, front, 2, 2, 2, 0]


def test_the_order_of_objects_is_no_change() -> None:
    row = row_of_instances(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]))
    masks = [decode(run, (2, 4)) for run in row["objects"]["segmentation"]]
    assert merged_row(row, Edit([(3, masks[1]), (2, masks[0])])) is None
    changed = merged_row(row, Edit([(3, masks[1]), (1, masks[0])]))
    assert changed is not None
    assert (changed["objects"]["category"], changed["classes"], changed["threshold"]) == ([3, 1], [1, 3], [0.0, 0.5])


def test_a_mask_without_objects_keeps_what_was_no_object() -> None:
    label = np.array([[1, 1, 0, 3, 3, 0, 2, 2]] * 2, np.uint8)  # the pixels of class 3 belong to no object
    row = made_row(label, [(1, strip(0, 1)), (2, strip(6, 7))])
    edited = label.copy()
    edited[:, 7] = 0
    changed = merged_row(row, Edit(label=edited))
    assert changed is not None
    assert (changed["objects"]["category"], changed["objects"]["area"]) == ([1, 2], [4, 2])
    assert merged_row(row, Edit(label=label.copy())) is None


def test_classes_are_matched_by_name() -> None:
    classes = ("TV", "tv", "potted plant")
    assert [class_id_of(name, classes, where="x") for name in ("tv", "TV", "Potted_Plant", "pottedplant")] == [
        2,
        1,
        3,
        3,
    ]
    with pytest.raises(ReviewError, match=r"^x: the dataset has no class 'Tv' \(did you mean 'tv'\?\); it has TV, tv"):
        class_id_of("Tv", classes, where="x")


def test_what_was_hidden_is_unknown_once_objects_were_redrawn() -> None:
    before = np.zeros((2, 4), bool)
    before[:, :2] = True
    row = {**made_row(np.where(before, 1, 0).astype(np.uint8), [(1, before)]), "amodal": [dict(encode(before))]}
    redrawn = merged_row(row, Edit([(1, ~before)]))
    assert redrawn is not None
    assert redrawn["amodal"] is None
