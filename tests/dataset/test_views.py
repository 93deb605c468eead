from typing import Any

import datasets
import numpy as np
import pytest

from diffumask_datasets.dataset.schema import decode_image, png_cell
from diffumask_datasets.dataset.views import VIEWS, view_features, view_row
from diffumask_datasets.errors import ShapeError
from diffumask_datasets.masks.rle import encode

CLASSES = ["car", "boat"]


@pytest.fixture
def row() -> dict[str, Any]:
    """4x5 pixels: two boats (instances 1 and 2), one ignored pixel."""
    label = np.array([[2, 2, 0, 0, 255], [2, 2, 0, 0, 0], [0, 0, 0, 2, 2], [0, 0, 0, 2, 2]], np.uint8)
    first, second = label == 2, label == 2
    first[2:], second[:2] = False, False
    return {
        "sample_id": "0123456789ab-00000003",
        "image": png_cell(np.zeros((4, 5, 3), np.uint8)),
        "label": png_cell(label),
        "objects": {
            "id": [1, 2],
            "category": [2, 2],
            "bbox": [[0.0, 0.0, 2.0, 2.0], [3.0, 2.0, 2.0, 2.0]],
            "area": [4, 4],
            "segmentation": [encode(first), encode(second)],
            "score": [1.0, 1.0],
        },
        "classes": [2],
        "heat_maps": {"category": [2], "map": []},
    }


def test_instance_annotation_is_class_then_instance(row: dict[str, Any]) -> None:
    annotation = decode_image(view_row(row, "instance", classes=CLASSES)["annotation"])
    expected_class = [[2, 2, 0, 0, 0], [2, 2, 0, 0, 0], [0, 0, 0, 2, 2], [0, 0, 0, 2, 2]]
    expected_instance = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 2, 2], [0, 0, 0, 2, 2]]
    np.testing.assert_array_equal(annotation[..., 0], expected_class)
    np.testing.assert_array_equal(annotation[..., 1], expected_instance)
    assert not annotation[..., 2].any()


def test_the_mask2former_example_finds_the_instances(row: dict[str, Any]) -> None:
    view = view_row(row, "instance", classes=CLASSES)
    assert view["semantic_class_to_id"] == {"background": 0, "car": 1, "boat": 2}
    # As transformers' run_instance_segmentation.py pairs ids: one semantic id per instance id.
    pairs = np.unique(decode_image(view["annotation"])[..., :2].reshape(-1, 2), axis=0)
    assert {int(instance): int(semantic) for semantic, instance in pairs} == {0: 0, 1: 2, 2: 2}


def test_detection_has_sizes_and_boxes(row: dict[str, Any]) -> None:
    view = view_row(row, "detection", classes=CLASSES)
    assert (view["image_id"], view["width"], view["height"]) == (3, 5, 4)
    assert view["objects"]["bbox"] == [[0.0, 0.0, 2.0, 2.0], [3.0, 2.0, 2.0, 2.0]]
    assert sorted(view["objects"]) == ["area", "bbox", "category", "id"]


def test_panoptic_ids_are_in_the_png(row: dict[str, Any]) -> None:
    view = view_row(row, "panoptic", classes=CLASSES)
    coloured = decode_image(view["panoptic"]).astype(int)
    ids = coloured[..., 0] + 256 * coloured[..., 1] + 65536 * coloured[..., 2]
    assert {int(number): int((ids == number).sum()) for number in np.unique(ids)} == {0: 12, 1: 4, 2: 4}
    assert view["segments_info"]["id"] == [1, 2]


@pytest.mark.parametrize("name", VIEWS[1:])
def test_rows_fit_their_features(row: dict[str, Any], name: str) -> None:
    features = view_features(name, classes=CLASSES)
    stored = datasets.Dataset.from_list([view_row(row, name, classes=CLASSES)], features=features)
    assert stored.column_names == list(features)


def test_default_drops_heat_maps_unless_kept(row: dict[str, Any]) -> None:
    assert "heat_maps" not in view_row(row, "default", classes=CLASSES)
    assert "heat_maps" in view_row(row, "default", classes=CLASSES, heat_maps=True)


def test_more_instances_than_the_annotation_holds(row: dict[str, Any]) -> None:
    row["objects"]["id"] = [1, 256]
    with pytest.raises(
        ShapeError, match=r"the config instance holds 255 in one image \(8 bits\); take the config panoptic"
    ):
        view_row(row, "instance", classes=CLASSES)
