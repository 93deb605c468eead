from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.masks.normalization import LEVEL_FLOOR, normalize_locally


def two_parts(weak: float) -> np.ndarray:
    """An object whose left half has heat 1 and whose right half has the heat ``weak``, on a cold background."""
    heat = np.full((64, 128), 0.05, np.float32)
    heat[16:48, 16:60] = 1.0
    heat[16:48, 68:112] = weak
    return heat


def test_a_weak_part_is_raised_to_the_level_of_the_strong_one() -> None:
    normalized = normalize_locally(two_parts(0.7))
    assert normalized[32, 30] == pytest.approx(1.0)
    assert normalized[32, 100] == pytest.approx(1.0, abs=0.01)


def test_what_is_weaker_than_the_floor_keeps_its_share_of_it() -> None:
    normalized = normalize_locally(two_parts(0.3))
    assert normalized[32, 100] == pytest.approx(0.3 / LEVEL_FLOOR, abs=0.01)
    assert normalized[2, 125] == pytest.approx(0.05 / LEVEL_FLOOR, abs=0.01)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_maximum_of_a_map_stays(scale: float) -> None:
    heat = two_parts(0.5) * np.float32(scale)
    normalized = normalize_locally(heat)
    assert normalized.dtype == np.float32
    assert normalized.max() == pytest.approx(scale)
    assert normalized == pytest.approx(scale * normalize_locally(two_parts(0.5)), abs=1e-6)


def test_no_heat_stays_no_heat() -> None:
    assert not normalize_locally(np.zeros((5, 7), np.float32)).any()


def test_one_pixel_keeps_its_heat() -> None:
    assert normalize_locally(np.full((1, 1), 0.4, np.float32)) == pytest.approx(0.4)


def test_large_maps_are_normalized_like_small_ones() -> None:
    large = np.kron(two_parts(0.5), np.ones((8, 8), np.float32))
    assert normalize_locally(large)[256, 800] == pytest.approx(normalize_locally(two_parts(0.5))[32, 100], abs=0.02)
