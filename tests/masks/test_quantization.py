from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.quantization import dequantize, quantize, soft_size


@pytest.mark.parametrize(
    ("size", "soft"),
    [
        ((128, 128), (128, 128)),
        ((512, 512), (128, 128)),
        ((512, 768), (85, 128)),
        ((48, 64), (48, 64)),
        ((2048, 8), (128, 1)),
    ],
)
def test_the_longer_side_is_bounded(size: tuple[int, int], soft: tuple[int, int]) -> None:
    assert soft_size(*size) == soft


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)))
def test_maps_of_full_size_come_back_to_half_a_level(heat_maps: np.ndarray) -> None:
    back = dequantize(quantize(heat_maps), height=3, width=4)
    assert np.abs(back - heat_maps).max() <= 0.5 / 255 + 1e-6


def test_smaller_maps_grow_smoothly_and_stay_in_range() -> None:
    soft = np.zeros((1, 8, 12), np.uint8)
    soft[0, 2:5, 3:9] = 255
    heat = dequantize(soft, height=32, width=48)
    assert (heat.dtype, heat.shape, heat.min(), heat.max()) == (np.float32, (1, 32, 48), 0.0, 1.0)
    assert heat[0, 14, 24] > 0.95
    assert heat[0, 28, 4] < 0.01


def test_what_is_kept_of_a_512_pixel_image_is_small() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((64, 64)), 2)
    grown = ndimage.zoom((noise - noise.min()) / np.ptp(noise), 2, order=3).clip(0, 1).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(quantize(grown[None])[0]).save(file, format="PNG")
    assert len(file.getvalue()) < 16_000


def test_bad_maps_are_refused() -> None:
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ModelError, match="NaN or numbers outside"):
            quantize(np.full((1, 2, 2), wrong, np.float32))
    with pytest.raises(ShapeError, match=r"heat_maps: expected uint8 \(classes, height, width\), got float32"):
        dequantize(np.zeros((1, 2, 2), np.float32), height=2, width=2)  # type: ignore[arg-type]
