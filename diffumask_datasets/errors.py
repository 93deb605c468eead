"""Everything that diffumask-datasets raises on purpose.

    DiffuMaskError
    ├── RecipeError               (ValueError)    a recipe field has an illegal value or an unknown name
    │   └── UnknownClassError     (KeyError)      a class that the model or vocabulary does not know
    ├── ShapeError                (ValueError)    an array of the wrong shape, dtype or range
    ├── ModelError                (ValueError)    a model that cannot be loaded, or that generates rubbish
    │   └── CaptureError          (RuntimeError)  no usable attention was seen while the model ran
    ├── TokenAlignmentError       (ValueError)    a class term is not in the prompt, or was truncated away
    ├── StoreError                (OSError)       the sample store cannot be read or written
    ├── DataError                 (ValueError)    labelled images that lack files, columns, classes or rows
    ├── TrainingError             (RuntimeError)  a training or evaluation that cannot go on: no finite loss, no memory
    ├── WorkerError               (RuntimeError)  processes or a cluster that cannot do the work, or die of it
    ├── ExportError               (ValueError)    a dataset that a format, or a target that a writer, cannot take
    ├── HubError                  (OSError)       the Hub refuses or lacks what is asked for, or cannot be reached
    ├── ReviewError               (ValueError)    decisions that do not fit the dataset or each other
    └── MissingDependencyError    (ImportError)   an optional package is not installed

Each also inherits the standard type named beside it, so that ``except ValueError`` keeps working.
Messages are one line: what is wrong, then how to fix it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CaptureError",
    "DataError",
    "DiffuMaskError",
    "ExportError",
    "HubError",
    "MissingDependencyError",
    "ModelError",
    "RecipeError",
    "ReviewError",
    "ShapeError",
    "StoreError",
    "TokenAlignmentError",
    "TrainingError",
    "UnknownClassError",
    "WorkerError",
    "short_repr",
    "suggestion",
]


class DiffuMaskError(Exception):
    """Root of all errors of this package."""


class RecipeError(DiffuMaskError, ValueError):
    """A recipe field has an illegal value or an unknown name; the message lists what is legal."""


class UnknownClassError(RecipeError, KeyError):
    """A class that the model or vocabulary does not know; the message suggests the nearest."""

    # KeyError would show the repr of the message.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ShapeError(DiffuMaskError, ValueError):
    """An array of the wrong shape, dtype or range; the message says expected and actual."""


class ModelError(DiffuMaskError, ValueError):
    """A model that cannot be loaded, or that generates rubbish."""


class CaptureError(ModelError, RuntimeError):
    """No usable attention was seen while the model ran."""


class TokenAlignmentError(DiffuMaskError, ValueError):
    """A class term is not in the prompt, or was truncated away by the tokenizer."""


class StoreError(DiffuMaskError, OSError):
    """The sample store cannot be read or written."""


class DataError(DiffuMaskError, ValueError):
    """Labelled images to train or evaluate on that lack files, columns, classes or rows."""


class TrainingError(DiffuMaskError, RuntimeError):
    """A training or an evaluation that cannot go on; the message says where, and which knob to turn."""


class WorkerError(DiffuMaskError, RuntimeError):
    """Worker processes that die again and again, or a cluster that cannot be reached or cannot finish."""


class ExportError(DiffuMaskError, ValueError):
    """A dataset that a format cannot hold, or a target that cannot be written."""


class HubError(DiffuMaskError, OSError):
    """The Hub refuses or lacks what is asked for, or cannot be reached; a token is never part of the message."""


class ReviewError(DiffuMaskError, ValueError):
    """Decisions of a review that do not fit the dataset or each other."""


class MissingDependencyError(DiffuMaskError, ImportError):
    """An optional package is not installed; the message is the pip line that fixes it."""

    @classmethod
    def of(cls, package: str, extra: str) -> MissingDependencyError:
        """The error for ``package``, which the optional dependency group ``extra`` brings."""
        return cls(f"{package} is not installed: pip install 'diffumask-datasets[{extra}]'")


def short_repr(value: object) -> str:
    """The ``repr`` of a value of unknown origin for a message, cut after 200 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python does not print numbers of more than 4,300 digits
        return f"a {type(value).__name__} too long to print"
    return text if len(text) <= 200 else f"{text[:200]}…"


def suggestion(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Suggests a known word for an unknown one.

    Args:
        word: The unknown word.
        known: The known words.
        cutoff: In (0, 1]: how near one must be.

    Returns:
        `` (did you mean 'boat'?)``, or an empty string where none is near.
    """
    nearest = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=cutoff)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
