"""FiftyOne itself, imported where it is used, and what to say where it or its database is missing."""

from __future__ import annotations

import importlib
from typing import Any

from diffumask_datasets.errors import MissingDependencyError

__all__ = ["load_fiftyone"]

MENDS = (
    "FiftyOne has no database it can start: (1) set FIFTYONE_DATABASE_URI to a MongoDB of your own, version 6 or newer; "
    "or (2) reinstall fiftyone-db where fastdl.mongodb.org can be reached; or (3) on Debian 12 and others without "
    "OpenSSL 1.1 install libssl1.1. Without FiftyOne: diffumask review SOURCE --html review.html"
)


def load_fiftyone() -> Any:
    """The module ``fiftyone``, connected to its database.

    Raises:
        MissingDependencyError: FiftyOne is not installed, or finds no database.
    """
    try:
        return importlib.import_module("fiftyone")
    except ModuleNotFoundError as error:
        if error.name != "fiftyone":
            raise
        instead = "; without it: diffumask review SOURCE --html review.html"
        raise MissingDependencyError(f"{MissingDependencyError.of('fiftyone', 'fiftyone')}{instead}") from None
    except (ConnectionError, RuntimeError, OSError) as error:
        raise MissingDependencyError(f"{MENDS} ({_line(error)})") from error
    except ValueError as error:
        # FiftyOneConfigError cannot be imported without importing what has just failed.
        if type(error).__name__ != "FiftyOneConfigError":
            raise
        raise MissingDependencyError(f"{MENDS} ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
