from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.curation.noise import (
    Agreement,
    class_agreements,
    class_doubts,
    cross_validated_agreements,
    doubts,
)
from diffumask_datasets.curation.rejection import reject_by_itself
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError, RecipeError
from tests.helpers.noisy_rows import rows_of


def agreed(value: float, *, share: float = 1.0, rival: int = 2) -> Agreement:
    """Mask and prediction agree that much, in class and in shape."""
    return Agreement(value, value, share, rival, 1 - share)


def certain(*rows: list[int], classes: int = 4) -> np.ndarray:
    """Probabilities that leave no doubt of these class ids."""
    return (np.arange(classes)[:, None, None] == np.array(rows)).astype(np.float32)


def test_agreement_by_hand() -> None:
    label = np.array([[1, 1, 2, 255], [0, 0, 2, 255]], np.uint8)
    predicted = certain([1, 0, 2, 2], [1, 0, 2, 2])
    # class 1: 1 of 3; class 2: both of 2, the ignored column not counted
    assert class_agreements(predicted, label) == {
        1: Agreement(iou=pytest.approx(1 / 3), shape=pytest.approx(1 / 3), share=1.0, rival=0, rival_share=0.0),
        2: Agreement(iou=1.0, shape=1.0, share=1.0, rival=0, rival_share=0.0),
    }
    assert class_agreements(predicted, np.zeros((2, 4), np.uint8)) == {}


def test_the_shape_is_confirmed_by_whatever_is_seen_there() -> None:
    label = np.array([[1, 1, 1, 1, 0]], np.uint8)
    predicted = certain([3, 3, 3, 1, 2])
    assert class_agreements(predicted, label) == {
        1: Agreement(iou=0.25, shape=0.8, share=0.25, rival=3, rival_share=0.75)
    }


def test_other_labelled_objects_are_no_part_of_the_shape() -> None:
    label = np.array([[1, 1, 2, 2]], np.uint8)
    assert class_agreements(certain([1, 1, 1, 1]), label) == {
        1: Agreement(iou=0.5, shape=1.0, share=1.0, rival=0, rival_share=0.0),
        2: Agreement(iou=0.0, shape=1.0, share=0.0, rival=1, rival_share=1.0),
    }


def test_the_rival_is_weighed_by_its_probability_without_the_background() -> None:
    label = np.array([[1, 1, 0]], np.uint8)
    probabilities = np.array([[[0.2, 0.1, 1.0]], [[0.5, 0.3, 0.0]], [[0.3, 0.6, 0.0]]], np.float32)
    found = class_agreements(probabilities, label)[1]
    assert (found.iou, found.shape, found.rival) == (0.5, 1.0, 2)
    assert (found.share, found.rival_share) == (pytest.approx(0.8 / 1.7), pytest.approx(0.9 / 1.7))


def test_nothing_seen_agrees_with_nothing() -> None:
    found = class_agreements(certain([0, 0]), np.array([[1, 0]], np.uint8))
    assert found == {1: Agreement(iou=0.0, shape=0.0, share=0.0, rival=0, rival_share=0.0)}


def test_what_lies_far_under_the_good_majority_is_doubted() -> None:
    rng = np.random.default_rng(0)
    good = [{1: agreed(float(value))} for value in rng.normal(0.85, 0.03, 70)]
    bad = [{1: agreed(float(value))} for value in rng.uniform(0.0, 0.6, 30)]
    found = doubts(good + bad, ["car"])
    assert sum(doubt is None for doubt in found[:70]) >= 67
    assert all(found[70:])


def test_every_class_has_its_own_floor_and_small_ones_share() -> None:
    samples = [{1: agreed(0.9)}] * 10 + [{2: agreed(0.5)}] * 10
    assert doubts([*samples, {1: agreed(0.69)}], ["car", "boat"])[-1] == (
        "'car': the object's IoU 0.69 with a segmenter trained on the other samples, under 0.70",
        0.69,
    )
    assert doubts([*samples, {1: agreed(0.71)}, {2: agreed(0.31)}], ["car", "boat"])[-2:] == [None, None]
    good = [{1: agreed(0.9)}] * 10 + [{2: agreed(0.85)}] * 10
    found = doubts([*good, {3: agreed(0.6)}, {3: agreed(0.75)}], ["car", "boat", "cup"])
    assert [doubt is not None for doubt in found[-2:]] == [True, False]


def test_a_class_that_is_seen_as_another_is_doubted_whatever_its_shape() -> None:
    samples = [{1: agreed(0.9)}] * 10
    found = doubts([*samples, {1: agreed(0.9, share=0.1)}, {1: agreed(0.9, share=0.2)}], ["car", "boat"])
    assert found[-2:] == [
        ("'car': a segmenter trained on the other samples takes the object for 'boat' (90% against 10%)", 0.1),
        None,
    ]


def test_of_several_classes_each_is_doubted_alone_and_the_sample_for_the_worst() -> None:
    samples = [{1: agreed(0.9), 2: agreed(0.9)}] * 10 + [
        {1: agreed(0.2), 2: agreed(0.9)},
        {1: agreed(0.2), 2: agreed(0.9, share=0.1)},
    ]
    found = class_doubts(samples, ["car", "boat"])
    assert [sorted(sample) for sample in found] == [[]] * 10 + [[1], [1, 2]]
    assert [doubt and doubt.score for doubt in doubts(samples, ["car", "boat"])] == [None] * 10 + [0.2, 0.1]


def test_samples_without_a_class_are_not_doubted() -> None:
    assert doubts([{}, {1: agreed(0.9)}], ["car"]) == [None, None]


@given(st.floats(0, 0.99), st.lists(st.integers(0, 1000), min_size=5, max_size=40, unique=True))
def test_a_share_is_dropped(share: float, thousandths: list[int]) -> None:
    found = doubts([{1: agreed(value / 1000)} for value in thousandths], ["car"], drop_share=share)
    assert abs(sum(doubt is not None for doubt in found) - share * len(thousandths)) <= 1


def test_the_share_goes_by_the_iou_of_the_class() -> None:
    samples = [{1: Agreement(value, 0.9, 0.0, 2, 1.0)} for value in (0.9, 0.2, 0.8, 0.7, 0.6)]
    found = doubts(samples, ["car"], drop_share=0.2)
    assert [doubt is not None for doubt in found] == [False, True, False, False, False]
    assert found[1] == ("'car': IoU 0.20 with a segmenter trained on the other samples, under 0.52", 0.2)


@pytest.mark.parametrize(
    ("label", "quality", "expected"),
    [
        ([[0, 255]], 0.9, ("empty", "no object has a mask")),
        ([[1, 1]], 0.9, ("full", "the mask of a class covers 100% of the image")),
        ([[1, 2]], 0.9, None),
        ([[0, 1]], 0.2, ("quality", "quality 0.20 is under 0.30")),
        ([[0, 1]], 0.3, None),
    ],
)
def test_samples_that_speak_against_themselves(label: list[list[int]], quality: float, expected: object) -> None:
    row = {"sample_id": "a", "label": png_cell(np.array(label, np.uint8)), "quality": quality}
    found = reject_by_itself(row, min_quality=0.3)
    assert (found and (found.filter, found.reason)) == expected


def test_a_damaged_mask_is_the_one_that_is_not_confirmed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = [], []
    for number in range(18):
        top, left = rng.integers(4, 24, 2)
        label = np.zeros((64, 64), np.uint8)
        label[top : top + 32, left : left + 32] = 1 + number % 2
        colours = np.array([(90, 110, 100), (220, 40, 30), (40, 60, 230)])
        images.append((colours[label] + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8))
        labels.append(label)
    labels[3] = np.roll(labels[3], 24, axis=1)
    labels[8] = np.where(labels[8] == 1, 2, 0).astype(np.uint8)
    rows = rows_of(images, labels, ["car", "boat"])
    training = {
        "model": "segformer-small",
        "model_options": {
            "depths": [1] * 4,
            "hidden_sizes": [16] * 4,
            "num_attention_heads": [1] * 4,
            "decoder_hidden_size": 16,
        },
        "height": 64,
        "width": 64,
        "steps": 40,
        "batch_size": 4,
        "learning_rate": 1e-2,
    }
    heard: list[int] = []
    agreements = cross_validated_agreements(rows, folds=2, folder=tmp_path, progress=heard.append, **training)
    assert heard == [1, 2]
    doubted = {k for k, doubt in enumerate(doubts(agreements, ["car", "boat"])) if doubt}
    assert {3, 8} <= doubted
    assert len(doubted) <= 5


def test_what_cannot_be_learned_from(tmp_path: Path) -> None:
    image, label = np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8)
    rows = rows_of([image] * 5, [label] * 5, ["car"])
    with pytest.raises(RecipeError, match="takes 2 or more folds of 2 or more samples; got 3 of 5"):
        cross_validated_agreements(rows, folds=3, folder=tmp_path)
    with pytest.raises(ModelError, match=r"nowhere"):
        cross_validated_agreements(rows, folds=2, folder=tmp_path, model="./nowhere")
    with pytest.raises(RecipeError, match=r"drop_share lies in \[0, 1\), got 1"):
        doubts([{1: agreed(0.5)}], ["car"], drop_share=1)
