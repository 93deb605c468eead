from __future__ import annotations

import numpy as np
import pytest

from diffumask_datasets.masks.unary import best_labels, certainty, hard_probabilities, label_probabilities


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[None, :]


def test_heat_at_the_threshold_is_even_odds() -> None:
    probabilities = label_probabilities(row(0.0, 0.4, 0.6, 1.0)[None], [0.4])
    assert probabilities.shape == (2, 1, 4)
    assert probabilities.dtype == np.float32
    # (heat - 0.4) / (0.1 * range 1) = -4, 0, 2, 6
    assert probabilities[1, 0].tolist() == pytest.approx([0.0180, 0.5, 0.8808, 0.9975], abs=1e-4)
    assert probabilities.sum(axis=0) == pytest.approx(np.ones((1, 4)))


def test_the_softness_is_a_fraction_of_the_map_s_own_range() -> None:
    wide, narrow = row(0.0, 0.3, 1.0), row(0.5, 0.65, 1.0)
    assert label_probabilities(wide[None], [0.4]) == pytest.approx(label_probabilities(narrow[None], [0.7]), abs=1e-5)


def test_the_class_furthest_above_its_threshold_wins() -> None:
    heat_maps = np.stack([row(0.0, 0.9, 0.9, 1.0), row(0.0, 1.0, 0.6, 0.2)])
    assert best_labels(label_probabilities(heat_maps, [0.5, 0.5])).tolist() == [[0, 2, 1, 1]]
    assert best_labels(label_probabilities(heat_maps, [0.5, 0.7])).tolist() == [[0, 1, 1, 1]]


def test_unsure_is_where_the_two_best_differ_by_less_than_the_margin() -> None:
    probabilities = np.array([[0.5, 0.54, 0.56, 0.9]], np.float32)
    both = np.stack([probabilities, 1 - probabilities])
    assert (certainty(both) < 0.1).tolist() == [[True, True, False, False]]
    assert not (certainty(both) < 0.0).any()


def test_a_temperature_widens_the_band() -> None:
    # log-odds 2.197 / 14 = 0.157, tanh(0.078) = 0.078; 6.907 / 14 = 0.493, 0.242
    both = np.array([[[0.9, 0.999]], [[0.1, 0.001]]], np.float32)
    assert (certainty(both, temperature=14.0) < 0.1).tolist() == [[True, False]]
    assert (certainty(both, temperature=14.0) < 0.25).tolist() == [[True, True]]


def test_certainty_is_sure_at_any_temperature() -> None:
    certain = np.array([[[1.0]], [[0.0]]], np.float32)
    assert certainty(certain, temperature=14.0).min() > 0.5


def test_hard_probabilities_by_hand() -> None:
    heat_maps = np.array([[[0.2, 0.6, 0.9]], [[0.1, 0.5, 0.95]]], np.float32)
    found = hard_probabilities(heat_maps, [0.5, 0.5], confidence=0.6)
    expected = [[[0.6, 0.2, 0.2]], [[0.2, 0.6, 0.2]], [[0.2, 0.2, 0.6]]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
