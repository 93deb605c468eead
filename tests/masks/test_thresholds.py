from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.combine import best_labels, label_probabilities
from diffumask_datasets.masks.densecrf import DenseCrf
from diffumask_datasets.masks.thresholds import adaptive_threshold, check_heat_map, otsu_threshold

CHOICES = [otsu_threshold, lambda heat: adaptive_threshold(heat, np.zeros((*heat.shape, 3), np.uint8))]


def scene(floor: float = 0.0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A red disc on blue; its heat is blurred, leaks to the left and stands on ``floor``."""
    rows, columns = np.mgrid[:96, :128]
    mask = (columns - 80) ** 2 + (rows - 44) ** 2 < 26**2
    noise = np.random.default_rng(0).integers(0, 20, (96, 128, 3))
    image = (np.where(mask[..., None], (190, 40, 30), (40, 110, 190)) + noise).astype(np.uint8)
    heat = ndimage.gaussian_filter(mask.astype(float), 9) + 0.35 * np.exp(
        -((columns - 20) ** 2 + (rows - 60) ** 2) / 300
    )
    heat = heat / heat.max()
    return image, (floor + (1 - floor) * heat).astype(np.float32), mask


def test_otsu_parts_two_levels() -> None:
    heat_map = np.full((5, 9), 0.1, np.float32)
    heat_map[1:3, 2:5] = 0.8
    assert 0.1 <= otsu_threshold(heat_map) < 0.8


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_adaptive_finds_the_object_whatever_the_floor(floor: float) -> None:
    image, heat, mask = scene(floor)
    gamma = adaptive_threshold(heat, image)
    found = best_labels(DenseCrf(image).refine(label_probabilities(heat[None], [gamma]))) == 1
    assert np.count_nonzero(found & mask) / np.count_nonzero(found | mask) > 0.98
    assert gamma == pytest.approx(floor + (1 - floor) * adaptive_threshold(scene()[1], image), abs=1e-3)


def test_adaptive_works_on_tall_large_and_tiny_images() -> None:
    image, heat, _ = scene()
    tall = adaptive_threshold(np.ascontiguousarray(heat.T), np.ascontiguousarray(image.transpose(1, 0, 2)))
    assert tall == pytest.approx(adaptive_threshold(heat, image), abs=0.051)
    tiny = np.array([[0.0, 1.0]], np.float32)
    assert 0 < adaptive_threshold(tiny, np.zeros((1, 2, 3), np.uint8)) < 1


def test_adaptive_is_the_same_every_time() -> None:
    image, heat, _ = scene()
    assert adaptive_threshold(heat, image) == adaptive_threshold(heat.copy(), image.copy())


def test_where_every_candidate_floods_or_dies_otsu_decides() -> None:
    heat = np.ones((32, 48), np.float32)
    heat[0, 0] = 0.0
    assert adaptive_threshold(heat, np.zeros((32, 48, 3), np.uint8)) == otsu_threshold(heat)


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_heat_map_is_an_error(choose: Any, value: float) -> None:
    with pytest.raises(ModelError, match=f"heat map is {value:.3g} everywhere"):
        choose(np.full((6, 4), value, np.float32))


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize(
    ("heat_map", "message"),
    [
        (np.array([[0.0, np.nan]], np.float32), r"expected numbers in \[0, 1\], got NaN in 1 of 2 pixels"),
        (np.array([[0.0, 1.5]], np.float32), r"expected numbers in \[0, 1\], got 0 to 1.5"),
        (np.array([[0.0, np.inf]], np.float32), r"expected numbers in \[0, 1\], got 0 to inf"),
        (np.zeros((2, 2), np.float64), r"expected float32 \(height, width\), got float64 \(2, 2\)"),
    ],
)
def test_a_bad_heat_map_is_named(choose: Any, heat_map: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        choose(heat_map)


def test_image_and_heat_map_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"image: expected uint8 \(4, 6, 3\), got uint8 \(6, 4, 3\)"):
        adaptive_threshold(np.eye(4, 6, dtype=np.float32), np.zeros((6, 4, 3), np.uint8))


def test_the_name_stands_in_the_message() -> None:
    with pytest.raises(ModelError, match=r"^heat map of class id 3 is 0 everywhere"):
        check_heat_map(np.zeros((2, 2), np.float32), name="heat map of class id 3")
