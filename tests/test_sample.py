from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from diffumask_datasets.errors import DataError, ShapeError, UnknownClassError
from diffumask_datasets.sample import ObjectAnnotation, Sample, check_array, check_known, check_sample_id, id2label


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "sample_id": "0123456789ab-00000007",
        "image": np.zeros((4, 6, 3), np.uint8),
        "label": np.zeros((4, 6), np.uint8),
        "instances": np.zeros((4, 6), np.uint16),
        "objects": (ObjectAnnotation(1, 2, (0.0, 0.0, 1.0, 1.0), 1, {"size": [4, 6], "counts": "01g0"}, 0.5),),
        "prompted": (5, 2),
        "classes": (2,),
        "prompt": "a photo of a boat",
        "seed": 7,
        "model": "toybox",
        "thresholds": (0.4, 0.5),
        "quality": 0.9,
        **changes,
    }


def test_a_sample_survives_pickling() -> None:
    sample = Sample(**fields(heat_maps=np.full((2, 4, 6), 9, np.uint8)))
    again = pickle.loads(pickle.dumps(sample))
    assert (again.sample_id, again.objects, again.thresholds) == (sample.sample_id, sample.objects, (0.4, 0.5))
    assert again.heat_maps.tobytes() == bytes([9] * 48)


def test_a_sample_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Sample(**fields()).seed = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 6), np.uint8)}, "image: expected uint8 (height, width, 3), got uint8 (4, 6)"),
        ({"image": np.zeros((4, 6, 3), np.float32)}, "image: expected uint8 (height, width, 3), got float32 (4, 6, 3)"),
        ({"image": np.zeros((0, 6, 3), np.uint8)}, "image: expected uint8 (height, width, 3), got uint8 (0, 6, 3)"),
        ({"image": [[0]]}, "image: expected uint8 (height, width, 3), got list"),
        ({"label": np.zeros((6, 4), np.uint8)}, "label: expected uint8 (4, 6), got uint8 (6, 4)"),
        ({"label": np.zeros((4, 6), np.int64)}, "label: expected uint8 (4, 6), got int64 (4, 6)"),
        ({"instances": np.zeros((4, 6), np.uint8)}, "instances: expected uint16 (4, 6), got uint8 (4, 6)"),
        (
            {"heat_maps": np.zeros((1, 4, 6), np.uint8)},
            "heat_maps: expected uint8 (2, height, width), got uint8 (1, 4, 6)",
        ),
        ({"thresholds": (0.4,)}, "thresholds: expected one of each of 2 classes, got (0.4,)"),
        ({"classes": (0,)}, "classes: expected class ids in 1..254, got (0,)"),
        ({"classes": (255,)}, "classes: expected class ids in 1..254, got (255,)"),
        ({"quality": 1.5}, "quality: expected a number in [0, 1], got 1.5"),
        ({"quality": float("nan")}, "quality: expected a number in [0, 1], got nan"),
    ],
)
def test_a_sample_says_what_was_expected_and_what_came(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Sample(**fields(**change))
    assert str(caught.value) == message


def test_check_array_gives_the_shape() -> None:
    assert check_array("mask", np.zeros((3, 5), bool), shape=("height", "width"), dtype="bool") == (3, 5)


@pytest.mark.parametrize("sample_id", ["0123456789ab-00000007", "straße-1", "a.b", "_", "a" * 128])
def test_a_sample_id_can_be_a_file_name(sample_id: str) -> None:
    assert check_sample_id(sample_id) == sample_id


@pytest.mark.parametrize(
    "sample_id",
    [
        "",
        "a..0",
        "..",
        "../a",
        "a/b",
        "a\\b",
        ".a",
        "a.",
        "-a",
        "two words",
        "a\n",
        "a\0",
        "a" * 129,
        "ß" * 65,
        7,
        None,
    ],
)
def test_what_cannot_be_a_file_name_everywhere_is_no_sample_id(sample_id: Any) -> None:
    with pytest.raises(DataError, match=r"invalid sample_id .*: expected letters, digits, '_', '-' and single '\.'"):
        check_sample_id(sample_id)


def test_id2label_starts_with_background() -> None:
    assert id2label(["car", "boat"]) == {0: "background", 1: "car", 2: "boat"}


def test_an_unknown_class_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownClassError) as caught:
        check_known(["car", "bot"], ["car", "boat"], model="toybox")
    assert str(caught.value) == ("the model 'toybox' cannot generate 'bot' (did you mean 'boat'?); it knows: car, boat")


def test_known_classes_pass_in_any_case() -> None:
    known = ["car", "boat"]
    check_known(["Car", "BOAT"], known, model="toybox")
    with pytest.raises(UnknownClassError, match="cannot generate 'Carr'"):
        check_known(["Car", "Carr"], known, model="toybox")
