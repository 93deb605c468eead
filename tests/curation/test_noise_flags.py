from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.curation.agreement import Agreement, Claim, SampleAgreement
from diffumask_datasets.curation.noise_flags import flag_classes, flag_noisy
from diffumask_datasets.errors import RecipeError


def agreed(value: float, *, share: float = 1.0, runner_up: int = 2) -> Agreement:
    """Mask and prediction agree that much, in class and in shape."""
    return Agreement(value, value, share, runner_up, 1 - share)


def unclaimed(*masks: dict[int, Agreement]) -> list[SampleAgreement]:
    return [SampleAgreement(sample, {}) for sample in masks]


def claimed(**kept: float) -> SampleAgreement:
    """A scene of road (1) and pavement (2) without background; the share of each that the others do not hold."""
    masks = {1: agreed(1.0), 2: agreed(1.0)}
    holders = {"road": 2, "pavement": 1, "car": 2}
    places = {"road": 1, "pavement": 2, "car": 3}
    return SampleAgreement(masks, {places[name]: Claim(value, holders[name]) for name, value in kept.items()})


STREET = ["road", "pavement", "car"]


def test_what_lies_far_under_the_good_majority_is_flagged() -> None:
    rng = np.random.default_rng(0)
    good = [{1: agreed(float(value))} for value in rng.normal(0.85, 0.03, 70)]
    bad = [{1: agreed(float(value))} for value in rng.uniform(0.0, 0.6, 30)]
    found = flag_noisy(unclaimed(*good, *bad), ["car"])
    assert sum(flag is None for flag in found[:70]) >= 67
    assert all(found[70:])


def test_every_class_has_its_own_floor_and_small_ones_share() -> None:
    samples = [{1: agreed(0.9)}] * 10 + [{2: agreed(0.5)}] * 10
    assert flag_noisy(unclaimed(*samples, {1: agreed(0.69)}), ["car", "boat"])[-1] == (
        "'car': the object's IoU 0.69 with a segmenter trained on the other samples, under 0.70",
        0.69,
    )
    assert flag_noisy(unclaimed(*samples, {1: agreed(0.71)}, {2: agreed(0.31)}), ["car", "boat"])[-2:] == [None, None]
    good = [{1: agreed(0.9)}] * 10 + [{2: agreed(0.85)}] * 10
    found = flag_noisy(unclaimed(*good, {3: agreed(0.6)}, {3: agreed(0.75)}), ["car", "boat", "cup"])
    assert [flag is not None for flag in found[-2:]] == [True, False]


def test_a_class_that_is_seen_as_another_is_flagged_whatever_its_shape() -> None:
    samples = [{1: agreed(0.9)}] * 10
    found = flag_noisy(unclaimed(*samples, {1: agreed(0.9, share=0.1)}, {1: agreed(0.9, share=0.2)}), ["car", "boat"])
    assert found[-2:] == [
        ("'car': a segmenter trained on the other samples takes the object for 'boat' (90% against 10%)", 0.1),
        None,
    ]


def test_of_several_classes_each_is_flagged_alone_and_the_sample_for_the_worst() -> None:
    both = {1: agreed(0.9), 2: agreed(0.9)}
    poor = {1: agreed(0.2), 2: agreed(0.9)}
    poorer = {1: agreed(0.2), 2: agreed(0.9, share=0.1)}
    samples = unclaimed(*[both] * 10, poor, poorer)
    found = flag_classes(samples, ["car", "boat"])
    assert [sorted(sample) for sample in found] == [[]] * 10 + [[1], [1, 2]]
    assert [flag and flag.score for flag in flag_noisy(samples, ["car", "boat"])] == [None] * 10 + [0.2, 0.1]


def test_a_class_that_is_always_taken_for_another_is_not_flagged_for_it() -> None:
    unlearned = [{3: agreed(0.9, share=share, runner_up=1)} for share in (0.0, 0.0, 0.02, 0.05, 0.1)]
    assert flag_noisy(unclaimed(*unlearned), STREET) == [None] * 5


@given(st.lists(st.floats(0.84, 1.0), min_size=5, max_size=20))
def test_of_a_class_that_is_mostly_recognised_every_renamed_object_is_flagged(shares: list[float]) -> None:
    usual = [{1: agreed(0.9, share=share)} for share in shares]
    assert flag_noisy(unclaimed(*usual, {1: agreed(0.9, share=0.16)}), ["car", "boat"])[-1] is not None


def test_a_mask_is_flagged_where_far_more_of_another_class_than_usual_lies_in_it() -> None:
    usual = [claimed(road=1.0, pavement=0.9)] * 9
    found = flag_classes([*usual, claimed(road=0.76, pavement=0.66), claimed(road=0.74, pavement=0.64)], STREET)
    assert found[:-1] == [{}] * 10
    assert found[-1] == {
        2: (
            "'pavement': 26% of what a segmenter trained on the other samples takes for 'road' lies in the masks of "
            "other classes, most of it in this one; over 25%",
            0.74,
        ),
        1: (
            "'road': 36% of what a segmenter trained on the other samples takes for 'pavement' lies in the masks of "
            "other classes, most of it in this one; over 35%",
            0.64,
        ),
    }


def test_a_class_that_the_label_lacks_speaks_against_the_mask_that_holds_it() -> None:
    usual = [claimed(road=1.0, car=1.0)] * 9
    (flag,) = flag_classes([*usual, claimed(road=0.6, car=0.0)], STREET)[-1].items()
    # Of two claims to one mask the worse one is told.
    assert (flag[0], flag[1].score) == (2, 0.0)
    assert "takes for 'car'" in flag[1].reason


def test_samples_without_a_class_are_not_flagged() -> None:
    assert flag_noisy(unclaimed({}, {1: agreed(0.9)}), ["car"]) == [None, None]


@given(st.floats(0, 0.99), st.lists(st.integers(0, 1000), min_size=5, max_size=40, unique=True))
def test_a_share_is_dropped(share: float, thousandths: list[int]) -> None:
    found = flag_noisy(unclaimed(*({1: agreed(value / 1000)} for value in thousandths)), ["car"], drop_share=share)
    assert abs(sum(flag is not None for flag in found) - share * len(thousandths)) <= 1


def test_the_share_goes_by_the_iou_of_the_class() -> None:
    samples = [{1: Agreement(value, 0.9, 0.0, 2, 1.0)} for value in (0.9, 0.2, 0.8, 0.7, 0.6)]
    found = flag_noisy(unclaimed(*samples), ["car"], drop_share=0.2)
    assert [flag is not None for flag in found] == [False, True, False, False, False]
    assert found[1] == ("'car': IoU 0.20 with a segmenter trained on the other samples, under 0.52", 0.2)


def test_everything_cannot_be_dropped() -> None:
    with pytest.raises(RecipeError, match=r"drop_share lies in \[0, 1\), got 1"):
        flag_noisy(unclaimed({1: agreed(0.5)}), ["car"], drop_share=1)
