from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pydensecrf.densecrf as densecrf
import pytest
from scipy import ndimage

from diffumask_datasets.errors import MissingDependencyError, ShapeError
from diffumask_datasets.masks.densecrf import (
    PAPER_PARAMETERS,
    SEVERAL_CLASSES,
    DenseCrf,
    DenseCrfParameters,
    unexplained_heat,
)
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.unary import label_probabilities

HEIGHT, WIDTH = 40, 72


def true_mask() -> npt.NDArray[np.bool_]:
    """An L that neither transposing nor flipping leaves in place."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:30, 44:52] = True
    mask[22:30, 44:68] = True
    return mask


def picture() -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH, 3))
    return (np.where(true_mask()[..., None], (200, 40, 30), (40, 110, 190)) + noise).astype(np.uint8)


def guess(share: float = 0.3) -> npt.NDArray[np.float32]:
    """Probabilities in which this share of the pixels, drawn at random, favours the wrong label."""
    wrong = np.random.default_rng(1).random((HEIGHT, WIDTH)) < share
    foreground = np.where(true_mask() ^ wrong, 0.7, 0.3).astype(np.float32)
    return np.stack([1 - foreground, foreground])


def test_a_noisy_guess_becomes_the_object_of_a_wide_picture() -> None:
    refined = DenseCrf(picture(), parameters=SEVERAL_CLASSES).refine(guess())
    assert (refined.dtype, refined.shape) == (np.float32, (2, HEIGHT, WIDTH))
    assert np.array_equal(refined.argmax(axis=0) == 1, true_mask())
    assert np.allclose(refined.sum(axis=0), 1, atol=1e-5)


def test_stopping_when_mean_field_has_converged_changes_nothing_that_counts() -> None:
    parameters = PAPER_PARAMETERS
    scale = float(np.sqrt(HEIGHT * WIDTH)) / 512
    whole = densecrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    whole.setUnaryEnergy(np.ascontiguousarray(-np.log(guess()).reshape(2, -1)))
    whole.addPairwiseGaussian(sxy=3 * scale, compat=3)
    whole.addPairwiseBilateral(sxy=80 * scale, srgb=13, rgbim=picture(), compat=10)
    ten_steps = np.array(whole.inference(parameters.iterations)).reshape(2, HEIGHT, WIDTH)
    refined = DenseCrf(picture(), parameters=parameters).refine(guess())
    assert np.abs(refined - ten_steps).mean() < 1e-4
    assert np.array_equal(refined.argmax(axis=0), ten_steps.argmax(axis=0))


def test_the_most_steps_are_kept_to() -> None:
    one, two = (DenseCrf(picture(), parameters=DenseCrfParameters(iterations=n)).refine(guess()) for n in (1, 2))
    assert np.abs(one - two).mean() > 1e-4


def test_labels_beyond_two() -> None:
    unary = np.concatenate([guess(), np.zeros((1, HEIGHT, WIDTH), np.float32)])
    refined = DenseCrf(picture(), 3, parameters=SEVERAL_CLASSES).refine(unary)
    assert np.array_equal(refined.argmax(axis=0), true_mask().astype(int))


def striped() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A picture striped in two colours, an object that spans them, its heat, and the unary that follows from it."""
    noise = np.random.default_rng(0).integers(0, 12, (96, 96, 3))
    stripes = np.arange(96)[:, None, None] // 8 % 2 == 0
    picture = (np.where(stripes, (200, 40, 30), (40, 110, 190)) + noise).astype(np.uint8)
    mask = np.zeros((96, 96), bool)
    mask[32:64, 40:64] = True
    heat = ndimage.gaussian_filter(mask.astype(np.float32), 4.8)
    heat /= heat.max()
    return picture, mask, heat[None], label_probabilities(heat[None], [0.5])


def test_heat_holds_an_object_together_that_colour_tears_apart() -> None:
    picture, mask, heat, unary = striped()
    alone, held = (DenseCrf(picture).refine(unary, given).argmax(axis=0) == 1 for given in (None, heat))
    assert iou(alone, mask) < 0.7
    assert iou(held, mask) > 0.75


def test_heat_is_not_asked_where_it_has_no_weight() -> None:
    picture, _, heat, unary = striped()
    crf = DenseCrf(picture, parameters=PAPER_PARAMETERS)
    assert np.array_equal(crf.refine(unary, heat), crf.refine(unary))


def test_calls_with_heat_leave_no_trace() -> None:
    picture, _, heat, unary = striped()
    crf = DenseCrf(picture)
    first = crf.refine(unary)
    held = crf.refine(unary, heat)
    assert np.array_equal(crf.refine(unary), first)
    assert np.array_equal(crf.refine(unary, heat), held)


def test_a_mask_explains_heat_of_any_height_and_floor() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 10:50] = 1.0
    blurred = ndimage.gaussian_filter(mask, 3.2, mode="nearest")  # 0.05 of the side
    assert np.abs(unexplained_heat(mask, 0.1 + 0.6 * blurred)).max() < 1e-4


def test_heat_that_a_mask_lacks_is_counted_in_objects() -> None:
    first, second = np.zeros((2, 64, 64), np.float32)
    first[4:28, 20:44], second[36:60, 20:44] = 1.0, 1.0
    both = ndimage.gaussian_filter(first + second, 3.2, mode="nearest")
    missing = unexplained_heat(first, 0.6 * both)
    assert missing[48, 32] == pytest.approx(1.08, abs=0.01)
    extra = unexplained_heat(first + second, 0.6 * ndimage.gaussian_filter(first, 3.2, mode="nearest"))
    assert extra[48, 32] == pytest.approx(-1.0, abs=0.01)


def test_heat_without_any_mask_calls_for_one() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[:4] = 1.0
    rest = unexplained_heat(np.zeros((8, 8), np.float32), heat)
    assert (rest[0, 0], rest[7, 0]) == (5.0, -5.0)  # half above and below the mean, at the least slope of 0.1


def test_calls_do_not_depend_on_each_other() -> None:
    crf = DenseCrf(picture())
    first = crf.refine(guess())
    crf.refine(np.ascontiguousarray(guess()[::-1]))
    assert np.array_equal(crf.refine(guess()), first)


def test_several_unaries_at_once_are_refined_as_one_after_the_other() -> None:
    shares = (0.1, 0.3, 0.45)
    alone = DenseCrf(picture(), parameters=SEVERAL_CLASSES)
    together = DenseCrf(picture(), 2 * len(shares), parameters=SEVERAL_CLASSES)
    guesses = np.stack([guess(share) for share in shares])
    expected = [alone.refine(one) for one in guesses]
    for _ in range(2):  # nothing is left of the first call
        found = together.refine_each(guesses)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
    # Each stops by itself: alone, the others would have gone on.
    few = DenseCrf(picture(), 2, parameters=SEVERAL_CLASSES)
    np.testing.assert_allclose(few.refine_each(guesses[:1])[0], expected[0], atol=1e-4)
    with pytest.raises(ShapeError, match=r"probabilities: expected .*\(3, 2, 40, 72\)"):
        together.refine_each(np.stack([guess()[:1]] * 3))
    with pytest.raises(ShapeError, match="probabilities: expected finite numbers"):
        together.refine_each(np.full((3, 2, HEIGHT, WIDTH), np.nan, np.float32))


def test_read_only_and_strided_images_are_taken_and_left_alone() -> None:
    image = picture()
    image.flags.writeable = False
    turned = np.asfortranarray(image)
    expected = DenseCrf(picture()).refine(guess())
    assert np.array_equal(DenseCrf(image).refine(guess()), expected)
    assert np.array_equal(DenseCrf(turned).refine(guess()), expected)


def test_spatial_parameters_are_those_of_512_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Recorder:
        def __init__(self, *size: int) -> None:
            calls.append(size)

        def addPairwiseGaussian(self, **terms: Any) -> None:  # noqa: N802
            calls.append(terms)

        def addPairwiseBilateral(self, *, rgbim: Any, **terms: Any) -> None:  # noqa: N802
            calls.append(terms)

    monkeypatch.setattr("pydensecrf.densecrf.DenseCRF2D", Recorder)
    DenseCrf(np.zeros((64, 256, 3), np.uint8), 5)  # sqrt(64 * 256) is a quarter of 512
    assert calls == [
        (256, 64, 5),
        {"sxy": 0.75, "compat": 3.0},
        {"sxy": 15.0, "srgb": 13.0, "compat": 10.0},
        {"sxy": 15.0, "compat": -3.0},
    ]
    calls.clear()
    DenseCrf(np.zeros((64, 256, 3), np.uint8))
    assert [terms["compat"] for terms in calls[1:]] == [3.0, 8.0, -3.0]
    calls.clear()
    DenseCrf(np.zeros((64, 256, 3), np.uint8), 5, parameters=PAPER_PARAMETERS)
    assert calls == [(256, 64, 5), {"sxy": 0.75, "compat": 3.0}, {"sxy": 20.0, "srgb": 13.0, "compat": 10.0}]


def test_without_pairwise_terms_the_unary_stays() -> None:
    off = DenseCrfParameters(gaussian_compat=0.0, bilateral_compat=0.0, position_compat=0.0)
    alone = DenseCrf(picture(), parameters=off)
    assert np.allclose(alone.refine(guess()), guess(), atol=1e-4)


def test_one_pixel() -> None:
    probabilities = np.array([0.2, 0.8], np.float32).reshape(2, 1, 1)
    refined = DenseCrf(np.zeros((1, 1, 3), np.uint8)).refine(probabilities)
    assert refined.argmax(axis=0).tolist() == [[1]]


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeError, match=r"image: expected uint8 \(height, width, 3\), got uint8 \(4, 4\)"):
        DenseCrf(np.zeros((4, 4), np.uint8))
    with pytest.raises(ShapeError, match=r"labels: expected at least 2 .*, got 1"):
        DenseCrf(picture(), 1)
    with pytest.raises(ShapeError, match=r"probabilities: expected float32 \(2, 40, 72\), got float32 \(2, 72, 40\)"):
        DenseCrf(picture()).refine(np.ascontiguousarray(guess().transpose(0, 2, 1)))
    with pytest.raises(ShapeError, match="probabilities: expected finite numbers"):
        DenseCrf(picture()).refine(np.full_like(guess(), np.nan))
    with pytest.raises(ShapeError, match=r"heat_maps: expected float32 \(1, 40, 72\), got float32 \(2, 40, 72\)"):
        DenseCrf(picture()).refine(guess(), guess())
    with pytest.raises(ShapeError, match="heat_maps: expected finite numbers"):
        DenseCrf(picture()).refine(guess(), np.full((1, HEIGHT, WIDTH), np.nan, np.float32))


def test_without_pydensecrf_the_message_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(MissingDependencyError) as caught:
        DenseCrf(picture())
    assert str(caught.value) == (
        "pydensecrf is not installed (it needs a C++ compiler to build): "
        "pip install pydensecrf2, or go without by refinement=None"
    )
