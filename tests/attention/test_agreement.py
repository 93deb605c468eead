import logging

import pytest
import torch

from diffumask_datasets.attention.agreement import combine_layers, layer_agreements, layer_weights
from diffumask_datasets.attention.maps import LayerSums
from diffumask_datasets.errors import CaptureError

GRID = (2, 4)

LEFT_AND_RIGHT = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).repeat(2, 2) / 4
"""Each token attends to its half of a 2 x 4 image alone, to all four tokens alike."""


def halves() -> torch.Tensor:
    """A map of two classes, one in each half."""
    left = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    return torch.stack([left, 1 - left])


def stripes() -> torch.Tensor:
    """Columns that change within each half."""
    odd = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    return torch.stack([odd, 1 - odd])


def test_a_map_that_follows_the_image_keeps_its_variance_and_one_across_it_loses_all() -> None:
    found = layer_agreements({"points": halves(), "stripes": stripes()}, {GRID: LEFT_AND_RIGHT})
    assert found == pytest.approx({"points": 1.0, "stripes": 0.0}, abs=1e-6)


def test_a_map_that_half_follows_keeps_the_share_that_does() -> None:
    # halves + stripes: variances add up, and only that of the halves survives.
    found = layer_agreements({"both": halves() + stripes()}, {GRID: LEFT_AND_RIGHT})
    assert found == pytest.approx({"both": 0.5}, abs=1e-6)


def test_weights_are_squares_relative_to_the_best() -> None:
    found = layer_weights({"both": halves() + stripes(), "points": halves()}, {GRID: LEFT_AND_RIGHT})
    assert found == pytest.approx({"both": 0.25, "points": 1.0}, abs=1e-6)


def test_the_height_of_a_map_does_not_count() -> None:
    found = layer_weights({"low": 0.01 * halves() + 0.5, "high": halves()}, {GRID: LEFT_AND_RIGHT})
    assert found == pytest.approx({"low": 1.0, "high": 1.0}, abs=1e-4)


def test_where_no_layer_tells_anything_all_count_alike_and_a_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = layer_weights({"stripes": stripes(), "flat": torch.ones(2, *GRID)}, {GRID: LEFT_AND_RIGHT})
    assert found == {"stripes": 1.0, "flat": 1.0}
    assert "no layer's map agrees with the image" in caplog.text


def test_many_such_images_of_a_model_are_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    layers = {"this test's": stripes()}
    with caplog.at_level(logging.WARNING):
        for _ in range(120):
            layer_weights(layers, {GRID: LEFT_AND_RIGHT})
    first, *others = caplog.messages
    assert first.startswith("attention='auto': no layer's map agrees with the image (best 0.0")
    assert others == [
        "attention='auto': so far, no layer's map agrees with the image in 10 images",
        "attention='auto': so far, no layer's map agrees with the image in 100 images",
    ]


def test_layers_are_combined_by_their_weights() -> None:
    # "both" ran twice; on two steps it counts 2 x 0.25, "points" 1 x 1.
    sums = LayerSums(
        ("car", "boat"), {"both": 2 * (halves() + stripes()), "points": halves()}, {"both": 2, "points": 1}
    )
    auto = combine_layers(sums, {GRID: LEFT_AND_RIGHT}, attention="auto")
    assert auto.counts == {GRID: pytest.approx(1.5)}
    torch.testing.assert_close(auto.grids[GRID], (0.5 * (halves() + stripes()) + halves()) / 1.5)
    equal = combine_layers(sums, {GRID: LEFT_AND_RIGHT})
    assert equal.counts == {GRID: 3}
    torch.testing.assert_close(equal.grids[GRID], (2 * (halves() + stripes()) + halves()) / 3)


def test_layers_are_never_counted_alike_in_place_of_weighing_them() -> None:
    with pytest.raises(
        CaptureError, match=r"attention 'auto': no self-attention was recorded .* take attention='equal'"
    ):
        combine_layers(LayerSums(("car", "boat"), {"points": halves()}, {"points": 1}), {}, attention="auto")


def test_a_coarse_layer_is_judged_on_the_grid_of_the_affinity() -> None:
    coarse = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # 1 x 2
    found = layer_agreements({"coarse": coarse}, {GRID: LEFT_AND_RIGHT})
    assert 0.8 < found["coarse"] < 1.0
