"""Whether a class is seen where its mask is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from diffumask_datasets.masks.presence import PresenceJudge, classes_in
from tests.helpers.image_text import ColourModel, scene_with

TERMS = ("car", "potted plant", "boat")


def judge_of(model: Any) -> PresenceJudge:
    return PresenceJudge(model, TERMS)


def test_a_class_that_looks_like_itself_is_present() -> None:
    model = ColourModel()
    scene = scene_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (20, 50, 50, 75)))
    score, objection = judge_of(model).judge(*scene)
    assert objection is None
    assert score > 0.9
    # classes that are labelled too are no rivals
    assert model.texts[0] == ["a photo of a car", "a photo of a potted plant", "background"]


@pytest.mark.parametrize("seen", ["boat", "background"])
def test_a_class_that_looks_like_something_else_is_not(seen: str) -> None:
    score, objection = judge_of(ColourModel()).judge(*scene_with((seen, "car", (10, 10, 40, 40))))
    assert score < 0.1
    assert objection is not None
    assert objection.startswith(f"the car looks more like {seen} (")
    assert objection.endswith(f"than like car ({score:.2f})")


@pytest.mark.parametrize(("odds", "objects"), [(8.0, False), (7.0, True)])
def test_something_else_must_be_so_much_likelier(odds: float, objects: bool) -> None:
    class Torn:
        def compare(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.log(np.array([0.1, 0.75, 0.15], np.float32))  # 7.5 times as likely a potted plant

    model: Any = Torn()
    scene = scene_with(("car", "car", (10, 10, 40, 40)), ("boat", "boat", (10, 50, 40, 75)))
    score, objection = PresenceJudge(model, TERMS, odds=odds).judge(*scene)
    assert score == pytest.approx(0.1)
    assert (objection is not None) is objects


def test_one_class_that_is_missing_is_enough() -> None:
    scene = scene_with(("car", "car", (10, 10, 40, 40)), ("background", "boat", (20, 50, 50, 75)))
    assert str(judge_of(ColourModel()).judge(*scene)[1]).startswith("the boat looks more like background")


def test_a_label_without_classes_is_asked_nothing() -> None:
    model = ColourModel()
    assert judge_of(model).judge(*scene_with()) == (1.0, None)
    assert model.texts == []


def test_a_tall_class_is_shown_in_a_square_of_its_surroundings() -> None:
    model, (image, label) = ColourModel(), scene_with(("car", "car", (10, 30, 40, 40)))
    judge_of(model).judge(image, label)
    # 30 rows and 4 above and below; as many columns around the middle of 28 to 42
    np.testing.assert_array_equal(model.images[0], image[6:44, 16:54])


def test_a_class_at_the_border_is_shown_with_what_is_beside_it() -> None:
    model, (image, label) = ColourModel(), scene_with(("car", "car", (0, 70, 30, 80)))
    judge_of(model).judge(image, label)
    np.testing.assert_array_equal(model.images[0], image[0:34, 46:80])


def test_a_class_wider_than_the_image_is_high_keeps_its_ends() -> None:
    model, (image, label) = ColourModel(), scene_with(("boat", "boat", (20, 10, 40, 70)))
    judge_of(model).judge(image, label)
    (shown,) = model.images
    assert shown.shape == (74, 74, 3)
    np.testing.assert_array_equal(shown[7:67], image[:, 3:77])
    # the mean of a boat of 20 x 60 in 60 x 74 pixels of grey
    assert np.unique(shown[:7].reshape(-1, 3), axis=0).tolist() == [[102, 102, 147]]
    assert np.unique(shown[67:].reshape(-1, 3), axis=0).tolist() == [[102, 102, 147]]


def test_background_and_unsure_pixels_are_no_classes() -> None:
    assert classes_in(np.array([[0, 3, 3], [255, 1, 0]], np.uint8)) == [1, 3]
