import pytest

from diffumask_datasets import errors
from diffumask_datasets.errors import DiffuMaskError, MissingDependencyError, UnknownClassError, suggestion


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("RecipeError", ValueError),
        ("UnknownClassError", KeyError),
        ("ShapeError", ValueError),
        ("ModelError", ValueError),
        ("CaptureError", RuntimeError),
        ("TokenAlignmentError", ValueError),
        ("StoreError", OSError),
        ("DataError", ValueError),
        ("TrainingError", RuntimeError),
        ("WorkerError", RuntimeError),
        ("ExportError", ValueError),
        ("HubError", OSError),
        ("ReviewError", ValueError),
        ("MissingDependencyError", ImportError),
    ],
)
def test_each_error_is_ours_and_the_standard_type(name: str, standard: type[Exception]) -> None:
    error = getattr(errors, name)
    assert issubclass(error, DiffuMaskError)
    assert issubclass(error, standard)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    classes = [name for name in errors.__all__ if name not in ("short_repr", "suggestion")]
    assert [name for name in classes if name not in (errors.__doc__ or "")] == []


def test_an_unknown_class_reads_as_a_sentence() -> None:
    assert str(UnknownClassError("no 'bot' here")) == "no 'bot' here"


def test_missing_dependency_is_a_pip_line() -> None:
    assert str(MissingDependencyError.of("fiftyone", "review")) == (
        "fiftyone is not installed: pip install 'diffumask-datasets[review]'"
    )


def test_suggestion_is_the_nearest_or_nothing() -> None:
    assert suggestion("Bot", ["car", "boat"]) == " (did you mean 'boat'?)"
    assert suggestion("zebra", ["car", "boat"]) == ""
