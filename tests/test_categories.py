import pytest

from diffumask_datasets.categories import check_known, id2label
from diffumask_datasets.errors import UnknownClassError


def test_id2label_starts_with_background() -> None:
    assert id2label(["car", "boat"]) == {0: "background", 1: "car", 2: "boat"}


def test_an_unknown_class_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownClassError) as caught:
        check_known(["car", "bot"], ["car", "boat"], model="toybox")
    assert str(caught.value) == ("the model 'toybox' cannot paint 'bot' (did you mean 'boat'?); it knows: car, boat")


def test_known_classes_pass_in_any_case() -> None:
    known = ["car", "boat"]
    check_known(["Car", "BOAT"], known, model="toybox")
    with pytest.raises(UnknownClassError, match="cannot paint 'Carr'"):
        check_known(["Car", "Carr"], known, model="toybox")
