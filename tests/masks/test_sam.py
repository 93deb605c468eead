"""Refinement and instances by a promptable segmenter: of one that knows the truth, and of random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from diffumask_datasets.masks import densecrf, promptable, sam
from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.sam_instances import part_by_segmenter, seeds_of
from diffumask_datasets.masks.unary import best_labels, label_probabilities
from diffumask_datasets.recipes.settings import MaskSettings
from tests.helpers.segmenters import TrueSegmenter, save_tiny_segmenter

HEIGHT, WIDTH = 96, 128
Truth = npt.NDArray[np.intp]


def discs(*places: tuple[int, int, int]) -> Truth:
    """1, 2, … within discs (row, column, radius), later ones in front."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    truth = np.zeros((HEIGHT, WIDTH), np.intp)
    for number, (row, column, radius) in enumerate(places, start=1):
        truth[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = number
    return truth


def picture(truth: Truth) -> npt.NDArray[np.uint8]:
    colours = np.random.default_rng(3).integers(30, 220, (truth.max() + 1, 3))
    noise = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH, 3))
    return (colours[truth] + noise).astype(np.uint8)


def heat_of(*masks: npt.NDArray[np.bool_], blur: float = 4.0) -> npt.NDArray[np.float32]:
    blurred = [ndimage.gaussian_filter(mask.astype(np.float32), blur) for mask in masks]
    return np.stack([one / one.max() for one in blurred]).astype(np.float32)


def refined(
    truth: Truth, heat: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, **parameters: Any
) -> tuple[npt.NDArray[np.float32], TrueSegmenter]:
    segmenter = TrueSegmenter(truth)
    monkeypatch.setattr(sam, "load_segmenter", lambda *_: segmenter)
    raw = label_probabilities(heat, [0.5] * len(heat))
    found, temperature = sam.refine(picture(truth), raw, heat, model="any", **parameters)
    assert temperature == densecrf.default_parameters(1 + len(heat)).temperature
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    return found, segmenter


def test_blurred_heat_becomes_the_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = discs((40, 30, 18), (50, 90, 24), (20, 70, 12))
    heat = heat_of(truth == 1, (truth == 2) | (truth == 3))
    found, segmenter = refined(truth, heat, monkeypatch)
    assert np.mean(best_labels(found) == np.array([0, 1, 2, 2])[truth]) > 0.999
    assert len([one for one in segmenter.asked if one.mask is not None]) == 3


def test_an_object_that_denies_its_heat_is_left_to_densecrf(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = discs((40, 30, 18))
    heat = heat_of(truth > 0)
    # All around the disc is taken for an object, not the disc.
    found, _ = refined(1 - truth, heat, monkeypatch)
    expected, _ = densecrf.refine(picture(1 - truth), label_probabilities(heat, [0.5]), heat)
    np.testing.assert_array_equal(found, expected)
    trusting, _ = refined(1 - truth, heat, monkeypatch, min_agreement=0.0)
    assert not np.array_equal(best_labels(trusting), best_labels(expected))


def test_an_object_that_is_believed_needs_no_heat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heat on the upper part alone: DenseCRF is not held to it where the segmenter says how far the disc reaches."""
    truth = discs((40, 30, 18), (50, 90, 24))
    upper = truth.copy()
    upper[47:, :55] = 0
    found, _ = refined(truth, heat_of(upper > 0), monkeypatch)
    assert iou(best_labels(found) == 1, truth > 0) > 0.99


def test_what_is_found_is_erased_and_the_rest_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = discs((48, 40, 24), (48, 82, 18))
    heat = heat_of(truth > 0, blur=3.0)
    assert len(np.unique(ndimage.label(heat[0] > 0.5)[0])) == 2
    once, _ = refined(truth, heat, monkeypatch, rounds=1)
    twice, segmenter = refined(truth, heat, monkeypatch, rounds=2)
    assert iou(best_labels(once) == 1, truth == 1) > 0.99
    assert iou(best_labels(twice) == 1, truth > 0) > 0.99
    assert len([one for one in segmenter.asked if one.mask is not None]) == 2


@pytest.mark.parametrize("count", [1, 40])
def test_any_number_of_objects(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = discs(*[(8 + 18 * (k // 8), 8 + 16 * (k % 8), 6) for k in range(count)])
    found, segmenter = refined(truth, heat_of(truth > 0, blur=1.0), monkeypatch)
    assert np.array_equal(best_labels(found) == 1, truth > 0)
    assert len([one for one in segmenter.asked if one.mask is not None]) == count


def test_heat_of_a_few_pixels_or_everywhere_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = discs((40, 30, 2))
    heat = heat_of(truth > 0, blur=0.5)
    speck, segmenter = refined(truth, heat, monkeypatch)
    assert segmenter.asked == []
    np.testing.assert_array_equal(speck, densecrf.refine(picture(truth), label_probabilities(heat, [0.5]), heat)[0])
    ramp = np.linspace(0.6, 1.0, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, axis=0)[None]
    whole, _ = refined(np.ones((HEIGHT, WIDTH), np.intp), ramp, monkeypatch)
    assert (best_labels(whole) == 1).all()


@pytest.mark.parametrize(
    ("places", "count"),
    [(((48, 40, 24), (48, 75, 20)), 2), (((48, 60, 30),), 1), (((30, 30, 20), (55, 50, 20), (40, 75, 18)), 3)],
    ids=["two that overlap deeply", "one", "three"],
)
def test_touching_objects_are_those_of_the_segmenter(places: Any, count: int) -> None:
    truth = discs(*places)
    box = ndimage.find_objects((truth > 0).astype(int))[0]
    segmenter: Any = TrueSegmenter(truth)
    labels, found = part_by_segmenter((truth > 0)[box], box, image=picture(truth), segmenter=segmenter)
    assert found == count
    assert np.array_equal(labels > 0, (truth > 0)[box])
    pairs = {(int(one), int(other)) for one, other in zip(labels.ravel(), truth[box].ravel(), strict=True)}
    assert len(pairs - {(0, 0)}) == count  # each label is one object


def test_a_segmenter_that_sees_nothing_leaves_it_to_the_necks() -> None:
    truth = discs((48, 35, 20), (48, 74, 20))
    blind: Any = TrueSegmenter(np.zeros_like(truth))
    whole = (slice(0, HEIGHT), slice(0, WIDTH))
    labels, count = part_by_segmenter(truth > 0, whole, image=picture(truth), segmenter=blind)
    assert count == 2
    assert iou(labels == labels[48, 35], truth == 1) > 0.95


def test_seeds_lie_within_and_apart() -> None:
    mask = discs((48, 40, 24), (48, 82, 20)) > 0
    seeds = seeds_of(mask)
    assert 2 <= len(seeds) <= 12
    assert all(mask[seed] for seed in seeds)
    assert seeds_of(np.zeros((HEIGHT, WIDTH), bool)) == []


def test_the_whole_way_is_the_same_each_time(tmp_path: Path) -> None:
    folder = str(save_tiny_segmenter("sam", tmp_path / "tiny"))
    truth = discs((40, 30, 18), (50, 90, 24))
    settings = MaskSettings(threshold=0.5, refinement={"kind": "sam", "model": folder, "min_agreement": 0.0})
    heat = heat_of(truth == 1, truth == 2)
    made = []
    for _ in range(2):
        promptable.load_segmenter.cache_clear()
        made.append(make_masks(picture(truth), heat, class_ids=[4, 2], settings=settings))
    assert made[0].semantic.any()
    np.testing.assert_array_equal(made[0].semantic, made[1].semantic)
    np.testing.assert_array_equal(made[0].instances, made[1].instances)
    assert made[0].class_qualities == made[1].class_qualities
