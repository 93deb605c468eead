import io

import datasets
import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.dataset.schema import (
    decode_label,
    element_of,
    features_of,
    from_payload,
    row_of,
    to_payload,
    without_heat_maps,
)
from diffumask_datasets.masks.rle import encode
from diffumask_datasets.sample import ObjectAnnotation, Sample


@pytest.fixture
def sample() -> Sample:
    """A 4x6 image with one boat (class id 2) of 2x3 pixels and one ignored pixel; a car was asked for and is missing."""
    label = np.zeros((4, 6), np.uint8)
    label[1:3, 2:5] = 2
    label[0, 0] = 255
    instances = (label == 2).astype(np.uint16)
    found = ObjectAnnotation(1, 2, (2.0, 1.0, 3.0, 2.0), 6, encode(label == 2), 0.75)
    return Sample(
        sample_id="0123456789ab-00000003",
        image=np.arange(72, dtype=np.uint8).reshape(4, 6, 3),
        label=label,
        instances=instances,
        objects=(found,),
        prompted=(1, 2),
        classes=(2,),
        prompt="a car and a boat",
        seed=2**62,
        model="planted",
        thresholds=(0.5, 0.25),
        quality=0.5,
        heat_maps=np.stack([np.full((4, 6), 7, np.uint8), np.full((4, 6), 9, np.uint8)]),
    )


def test_the_row_of_a_sample(sample: Sample) -> None:
    row = row_of(sample)
    assert list(row) == [*features_of(["car", "boat"]), "heat_maps"]
    assert row["sample_id"] == "0123456789ab-00000003"
    assert row["objects"]["category"] == [2]
    assert row["objects"]["bbox"] == [[2.0, 1.0, 3.0, 2.0]]
    assert row["objects"]["area"] == [6]
    assert (row["classes"], row["threshold"]) == ([2], [0.25])
    assert row["heat_maps"]["category"] == [1, 2]
    assert [int(decode_label(cell)[0, 0]) for cell in row["heat_maps"]["map"]] == [7, 9]


def test_the_label_is_a_grey_png_of_class_ids(sample: Sample) -> None:
    picture = Image.open(io.BytesIO(row_of(sample)["label"]["bytes"]))
    assert (picture.format, picture.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(picture), sample.label)


def test_datasets_stores_the_same_pixels(sample: Sample) -> None:
    features = features_of(["car", "boat"], heat_maps=True)
    stored = datasets.Dataset.from_list([row_of(sample)], features=features)[0]
    np.testing.assert_array_equal(np.asarray(stored["image"]), sample.image)
    np.testing.assert_array_equal(np.asarray(stored["label"]), sample.label)
    assert stored["seed"] == 2**62
    assert element_of(features["classes"]).int2str(stored["classes"]) == ["boat"]


def test_a_payload_is_the_row(sample: Sample) -> None:
    row = row_of(sample)
    assert from_payload(to_payload(row, features_of(["car", "boat"], heat_maps=True))) == row


def test_the_same_row_gives_the_same_payload(sample: Sample) -> None:
    features = features_of(["car", "boat"], heat_maps=True)
    assert to_payload(row_of(sample), features) == to_payload(row_of(sample), features)


def test_heat_maps_are_optional(sample: Sample) -> None:
    assert "heat_maps" not in without_heat_maps(row_of(sample))
    assert "heat_maps" not in features_of(["car"])
