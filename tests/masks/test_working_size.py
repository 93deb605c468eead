from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import resize_local_mean

from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.masks.working_size import enlarge, enlarged_labels, shrink_image, shrink_maps, working_size
from diffumask_datasets.recipes.settings import MaskSettings


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((384, 384), (384, 384)),
        ((1024, 1024), (384, 384)),
        ((3000, 4000), (333, 443)),
        ((1, 1), (1, 1)),
        ((1, 400_000), (1, 242_863)),
    ],
)
def test_working_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size) == expected


def test_what_has_the_size_is_handed_on_as_it_is() -> None:
    image, maps = np.zeros((4, 6, 3), np.uint8), np.zeros((2, 4, 6), np.float32)
    assert shrink_image(image, (4, 6)) is image
    assert shrink_maps(maps, (4, 6)) is maps
    assert enlarge(maps[0], (4, 6)).base is maps


def test_shrinking_is_the_area_mean() -> None:
    maps = np.array([[[0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.5, 0.5]]], np.float32)
    assert shrink_maps(maps, (1, 2)).tolist() == [[[0.5, 0.5]]]
    image = np.repeat(np.array([[[10], [20]], [[30], [40]]], np.uint8), 3, axis=2)
    assert shrink_image(image, (1, 1)).tolist() == [[[25, 25, 25]]]


def test_shrinking_shares_pixels_between_their_neighbours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    expected = resize_local_mean(image, (23, 31), channel_axis=2, preserve_range=True)
    assert np.array_equal(shrink_image(image, (23, 31)), expected.round().astype(np.uint8))
    maps = np.random.default_rng(1).random((2, 37, 53), dtype=np.float32)
    wanted = np.stack([resize_local_mean(one.astype(np.float64), (37, 31)) for one in maps])
    np.testing.assert_allclose(shrink_maps(maps, (37, 31)), wanted, atol=1e-7)


def test_a_strip_takes_no_more_memory_than_it_has_pixels() -> None:
    # A table of every new and every old pixel would have 10^11 entries.
    strip = np.zeros((1, 1, 400_000), np.float32)
    strip[..., :200_000] = 1
    shrunk = shrink_maps(strip, (1, 242_863))[0, 0]
    assert (shrunk[:121_431].min(), shrunk[121_432:].max()) == (1, 0)
    assert shrunk[121_431] == pytest.approx(0.5)


def test_labels_are_enlarged_between_the_probabilities() -> None:
    probabilities = np.array([[[0.1, 0.6]], [[0.8, 0.3]], [[0.1, 0.1]]], np.float32)
    assert enlarged_labels(probabilities, (1, 2)).tolist() == [[1, 0]]
    # bilinear in between: the classes are even at 2/3 of the way
    assert enlarged_labels(probabilities, (2, 12)).tolist() == [[1] * 7 + [0] * 5] * 2


def test_a_large_image_gets_the_mask_of_its_small_copy() -> None:
    rows, columns = np.mgrid[:1200, :1600]
    mask = (rows - 500) ** 2 + (columns - 900) ** 2 < 300**2
    image = np.where(mask[..., None], (200, 40, 30), (40, 110, 190)).astype(np.uint8)
    heat = np.clip(1.5 - np.hypot(rows - 500, columns - 900) / 300, 0, 1).astype(np.float32)
    found = make_masks(image, heat[None], class_ids=[3], settings=MaskSettings(ignore_margin=0.0)).semantic
    assert found.shape == (1200, 1600)
    assert np.count_nonzero((found == 3) & mask) / np.count_nonzero((found == 3) | mask) > 0.98
