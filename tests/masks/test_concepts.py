"""Masks by name: a SAM 3 of random weights, on images of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.masks.concepts import ConceptSegmenter, load_concept_segmenter
from tests.helpers.segmenters import save_tiny_concept_segmenter


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> ConceptSegmenter:
    return load_concept_segmenter(str(save_tiny_concept_segmenter(tmp_path_factory.mktemp("sam3"))), device="cpu")


def test_each_name_has_a_map_of_the_size_of_the_image(segmenter: ConceptSegmenter) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    car, boat = segmenter.find(image, ["car", "a red boat with a long name " * 20])
    for found in (car, boat):
        assert found.probabilities.shape == (40, 60)
        assert found.probabilities.dtype == np.float32
        assert 0 < found.presence < 1
        # a pixel is no surer than that the class is there at all
        assert 0 <= found.probabilities.min() <= found.probabilities.max() <= found.presence
    assert not np.array_equal(car.probabilities, boat.probabilities)
    (again,) = segmenter.find(image, ["car"])
    np.testing.assert_allclose(again.probabilities, car.probabilities, atol=1e-6)
