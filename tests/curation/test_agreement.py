from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.curation.agreement import Agreement, Claim, sample_agreement


def certain(*rows: list[int], classes: int = 4) -> np.ndarray:
    """Probabilities that leave no doubt of these class ids."""
    return (np.arange(classes)[:, None, None] == np.array(rows)).astype(np.float32)


def test_agreement_by_hand() -> None:
    label = np.array([[1, 1, 2, 255], [0, 0, 2, 255]], np.uint8)
    predicted = certain([1, 0, 2, 2], [1, 0, 2, 2])
    # class 1: 1 of 3; class 2: both of 2, the ignored column not counted
    assert sample_agreement(predicted, label).masks == {
        1: Agreement(iou=pytest.approx(1 / 3), shape=pytest.approx(1 / 3), share=1.0, runner_up=0, runner_up_share=0.0),
        2: Agreement(iou=1.0, shape=1.0, share=1.0, runner_up=0, runner_up_share=0.0),
    }
    assert sample_agreement(predicted, np.zeros((2, 4), np.uint8)).masks == {}


def test_the_shape_is_confirmed_by_whatever_is_seen_there() -> None:
    label = np.array([[1, 1, 1, 1, 0]], np.uint8)
    predicted = certain([3, 3, 3, 1, 2])
    assert sample_agreement(predicted, label).masks == {
        1: Agreement(iou=0.25, shape=0.8, share=0.25, runner_up=3, runner_up_share=0.75)
    }


def test_other_labelled_objects_are_no_part_of_the_shape() -> None:
    label = np.array([[1, 1, 2, 2]], np.uint8)
    assert sample_agreement(certain([1, 1, 1, 1]), label).masks == {
        1: Agreement(iou=0.5, shape=1.0, share=1.0, runner_up=0, runner_up_share=0.0),
        2: Agreement(iou=0.0, shape=1.0, share=0.0, runner_up=1, runner_up_share=1.0),
    }


def test_the_runner_up_is_weighed_by_its_probability_without_the_background() -> None:
    label = np.array([[1, 1, 0]], np.uint8)
    probabilities = np.array([[[0.2, 0.1, 1.0]], [[0.5, 0.3, 0.0]], [[0.3, 0.6, 0.0]]], np.float32)
    found = sample_agreement(probabilities, label).masks[1]
    assert (found.iou, found.shape, found.runner_up) == (0.5, 1.0, 2)
    assert (found.share, found.runner_up_share) == (pytest.approx(0.8 / 1.7), pytest.approx(0.9 / 1.7))


def test_nothing_seen_agrees_with_nothing() -> None:
    found = sample_agreement(certain([0, 0]), np.array([[1, 0]], np.uint8)).masks
    assert found == {1: Agreement(iou=0.0, shape=0.0, share=0.0, runner_up=0, runner_up_share=0.0)}


def test_a_predicted_class_claims_what_other_masks_hold_of_it() -> None:
    label = np.array([[1, 1, 1, 1, 2, 2, 2, 3, 0, 255]], np.uint8)
    predicted = certain([1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    # Of 7 pixels that are taken for class 2 and not ignored, 2 are held by 1 and 1 by 3; the background holds nothing.
    kept = pytest.approx(4 / 7)
    assert sample_agreement(predicted, label).claims == {1: Claim(kept=1.0, holder=0), 2: Claim(kept, holder=1)}


def test_a_class_that_the_label_lacks_claims_too() -> None:
    claims = sample_agreement(certain([1, 2, 3, 3]), np.array([[1, 2, 2, 2]], np.uint8)).claims
    assert claims[3] == Claim(kept=0.0, holder=2)


def test_a_pixel_is_claimed_only_where_its_own_class_is_improbable() -> None:
    label = np.array([[1, 1, 2, 2]], np.uint8)
    probabilities = np.array([[[0, 0, 0, 0]], [[0.11, 0.09, 0, 0]], [[0.89, 0.91, 1, 1]]], np.float32)
    assert sample_agreement(probabilities, label).claims == {2: Claim(kept=0.75, holder=1)}
    # Of very many classes the likeliest can be improbable, and is the label's for all that.
    spread = np.full((15, 1, 4), 0.066, np.float32)
    spread[1, 0, :2] = spread[2, 0, 2:] = 0.07
    assert {claim.kept for claim in sample_agreement(spread, label).claims.values()} == {1.0}


def test_stray_pixels_are_no_claim() -> None:
    label = np.repeat(np.array([[1, 2]], np.uint8), 50, axis=1)
    predicted = np.array(label)
    predicted[0, 0] = 3
    assert sample_agreement(certain(*predicted.tolist()), label).claims[3] == Claim(kept=pytest.approx(0.8), holder=1)


def test_nothing_is_claimed_from_a_single_mask() -> None:
    assert sample_agreement(certain([2, 2, 1, 0]), np.array([[1, 1, 1, 0]], np.uint8)).claims == {}
