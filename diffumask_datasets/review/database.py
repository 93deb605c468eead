"""FiftyOne itself, imported where it is used, and what to say where it or its database is missing."""

from __future__ import annotations

import importlib
from typing import Any

from diffumask_datasets.errors import MissingDependencyError

__all__ = ["load_fiftyone"]

INSTEAD = "without FiftyOne: diffumask review SOURCE --html review.html"

MENDS = (
    "FiftyOne cannot use its database: (1) set FIFTYONE_DATABASE_URI to a MongoDB of your own, version 6 or newer; "
    "or (2) reinstall fiftyone-db where fastdl.mongodb.org can be reached; or (3) install libssl1.1, which its MongoDB "
    f"needs and newer systems leave out; {INSTEAD}"
)


def load_fiftyone() -> Any:
    """The module ``fiftyone``, connected to its database.

    Raises:
        MissingDependencyError: FiftyOne is not installed, or cannot use a database.
    """
    try:
        fiftyone = importlib.import_module("fiftyone")
    except ModuleNotFoundError as error:
        if error.name != "fiftyone":
            raise
        raise MissingDependencyError(f"{MissingDependencyError.of('fiftyone', 'fiftyone')}; {INSTEAD}") from None
    service, config, mongo = (
        importlib.import_module(name) for name in ("fiftyone.core.service", "fiftyone.core.config", "pymongo.errors")
    )
    try:
        # FiftyOne connects when it is first asked for something.
        fiftyone.list_datasets()
    except (
        service.ServiceException,
        config.FiftyOneConfigError,
        mongo.PyMongoError,
        ConnectionError,
        RuntimeError,
    ) as error:
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise MissingDependencyError(f"{MENDS} ({line})") from error
    return fiftyone
