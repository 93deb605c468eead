from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks.densecrf import DenseCrf
from diffumask_datasets.masks.thresholds import (
    PAPER_GAMMAS,
    adaptive_search,
    check_heat_map,
    coarse_to_fine,
    matching_search,
    otsu_threshold,
)
from diffumask_datasets.masks.unary import best_labels, label_probabilities


def adaptive_threshold(heat: np.ndarray, image: np.ndarray) -> float:
    return adaptive_search(heat, image)[0]


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


def test_the_papers_gammas() -> None:
    assert PAPER_GAMMAS[0] == 0.35
    assert PAPER_GAMMAS[-1] == 0.54
    assert len(PAPER_GAMMAS) == 20


def test_matching_picks_what_the_affinity_mask_says() -> None:
    """On a picture without edges the mask grows with the heat, so that a small and a large wanted mask ask for other γ."""
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - 32, columns - 32)
    heat = np.clip(1 - distance / 40, 0, 1).astype(np.float32)
    image = np.full((64, 64, 3), 120, np.uint8)
    gammas = {}
    for gamma in (0.37, 0.45, 0.53):
        chosen, curve = matching_search(heat, image, heat >= gamma)
        gammas[gamma] = chosen
        assert chosen in curve.gammas
        assert curve.scores[curve.gammas.index(chosen)] == max(curve.scores)
        assert len(curve.gammas) < 20
    assert gammas[0.37] < gammas[0.45] < gammas[0.53]


def test_matching_without_any_overlap_leaves_it_to_otsu() -> None:
    image, heat, _ = scene()
    assert matching_search(heat, image, np.zeros(heat.shape, bool))[0] == otsu_threshold(heat)
    with pytest.raises(ShapeError, match="wanted: expected bool"):
        matching_search(heat, image, heat)  # type: ignore[arg-type]


@given(st.integers(1, 40), st.data())
def test_coarse_to_fine_finds_the_one_peak(count: int, data: st.DataObject) -> None:
    peak = data.draw(st.integers(0, count - 1))
    steps = data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    scores = [-float(sum(steps[min(i, peak) : max(i, peak)])) for i in range(count)]
    best, tried = coarse_to_fine(lambda index: scores[index], count)
    assert best == peak
    assert tried == {index: scores[index] for index in tried}
    assert len(tried) <= max(5, count // 4 + 9)


def test_coarse_to_fine_tries_twelve_of_twenty() -> None:
    assert len(coarse_to_fine(lambda index: -abs(index - 9), 20)[1]) == 12


def test_the_adaptive_curve_holds_the_choice() -> None:
    image, heat, _ = scene()
    gamma, curve = adaptive_search(heat, image)
    assert gamma == adaptive_threshold(heat, image)
    assert len(curve.gammas) == 15
    assert gamma in curve.gammas
