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


def test_background_and_unsure_pixels_are_no_classes() -> None:
    assert classes_in(np.array([[0, 3, 3], [255, 1, 0]], np.uint8)) == [1, 3]
