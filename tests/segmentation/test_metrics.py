"""The figures against other implementations and against literal counts."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from diffumask_datasets.errors import ShapeError, UnknownClassError
from diffumask_datasets.segmentation.metrics import BOUNDARY_SHARE, OpenVocabulary, Tally, boundary, image_iou

Mask = NDArray[np.uint8]

VALUES = st.sampled_from([0, 1, 2, 255])
PAIRS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.tuples(
        arrays(np.uint8, size, elements=VALUES), arrays(np.uint8, size, elements=st.sampled_from([0, 1, 2]))
    )
)


@given(st.lists(PAIRS, min_size=1, max_size=3))
def test_it_counts_as_torchmetrics_does(pairs: list[tuple[Mask, Mask]]) -> None:
    tally = Tally(3)
    for label, prediction in pairs:
        tally.add(label, prediction)
    truth = torch.from_numpy(np.concatenate([label.ravel() for label, _ in pairs])).long()
    predicted = torch.from_numpy(np.concatenate([prediction.ravel() for _, prediction in pairs])).long()
    scores = tally.scores(("background", "car", "boat"), background=0)
    theirs = multiclass_confusion_matrix(predicted, truth, 3, ignore_index=255)
    np.testing.assert_array_equal(scores.confusion, theirs.numpy())
    shown = (theirs.sum(0) + theirs.sum(1)) > 0
    iou = multiclass_jaccard_index(predicted, truth, 3, average="none", ignore_index=255)
    np.testing.assert_allclose(np.array(scores.iou)[shown.numpy()], iou[shown].numpy(), rtol=1e-5)
    assert np.isnan(np.array(scores.iou)[~shown.numpy()]).all()


def by_the_paper(label: Mask, prediction: Mask, class_id: int) -> tuple[int, int]:
    """Boundary IoU of one class, mask by mask: each minus its erosion by a 3x3 square, d times, the frame empty."""
    distance = max(1, round(BOUNDARY_SHARE * float(np.hypot(*label.shape))))
    square = np.ones((3, 3), dtype=bool)
    edges = []
    for mask in (label == class_id, prediction == class_id):
        edges.append(mask & ~binary_erosion(mask, square, iterations=distance))
    return int((edges[0] & edges[1]).sum()), int((edges[0] | edges[1]).sum())


@given(PAIRS)
def test_boundaries_are_those_of_eroding_mask_by_mask(pair: tuple[Mask, Mask]) -> None:
    label, prediction = pair
    label = np.where(label == 255, 0, label).astype(np.uint8)
    tally = Tally(3)
    tally.add(label, prediction)
    scores = tally.scores(("background", "car", "boat"), background=0)
    for class_id, ours in enumerate(scores.boundary_iou):
        both, either = by_the_paper(label, prediction, class_id)
        assert (np.isnan(ours) and either == 0) or ours == pytest.approx(both / either)


def test_the_band_is_two_percent_of_the_diagonal_wide() -> None:
    label = np.zeros((300, 400), dtype=np.uint8)
    label[100:200, 100:300] = 1
    row = boundary(label)[150]
    assert [int(place) for place in np.flatnonzero(np.diff(row.astype(int)))] == [9, 89, 109, 289, 309, 389]


def test_literal_figures() -> None:
    label = np.array([[0, 0, 1, 1], [0, 2, 2, 255]], dtype=np.uint8)
    prediction = np.array([[0, 1, 1, 1], [0, 2, 0, 2]], dtype=np.uint8)
    tally = Tally(4)
    confusion = tally.add(label, prediction)
    assert image_iou(confusion) == pytest.approx((2 / 4 + 2 / 3 + 1 / 2) / 3)
    scores = tally.scores(("background", "car", "boat", "cup"), background=0, counted=(1, 2, 3))
    assert scores.iou[:3] == pytest.approx((2 / 4, 2 / 3, 1 / 2))
    assert np.isnan(scores.iou[3])
    assert scores.miou == scores.miou_classes == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.as_dict()["classes"]["cup"] == {"iou": None, "boundary_iou": None}
    assert scores.confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert "car" in scores.table()


def test_seen_and_unseen() -> None:
    tally = Tally(4)
    tally.add(np.array([[0, 1, 1, 2, 3, 3]], np.uint8), np.array([[0, 1, 0, 2, 3, 0]], np.uint8))
    scores = tally.scores(("background", "car", "boat", "potted plant"), background=0)
    figures = OpenVocabulary.of(scores, ["PottedPlant"], background=0)
    assert (figures.seen, figures.unseen) == (pytest.approx(0.75), pytest.approx(0.5))
    assert figures.harmonic == pytest.approx(0.6)
    assert figures.table() == "seen 75.00  unseen 50.00  harmonic mean 60.00"
    with pytest.raises(UnknownClassError, match=r"unseen: 'bot' is no judged class \(did you mean 'boat'"):
        OpenVocabulary.of(scores, ["bot"], background=0)


def test_ignored_pixels_count_nowhere() -> None:
    label = np.full((8, 8), 255, dtype=np.uint8)
    tally = Tally(2)
    assert image_iou(tally.add(label, np.ones_like(label))) == 1.0
    scores = tally.scores(("background", "car"), background=0)
    assert np.isnan([scores.miou, scores.pixel_accuracy, scores.mean_boundary_iou]).all()


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros((2, 3), dtype=np.uint8), r"expected the mask's shape \(2, 2\), got \(2, 3\)"),
        (np.full((2, 2), 7, dtype=np.uint8), "expected class ids from 0 to 1, got 7"),
    ],
)
def test_what_it_does_not_take(prediction: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Tally(2).add(np.zeros((2, 2), dtype=np.uint8), prediction)
