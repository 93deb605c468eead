"""The FiftyOne App: launching it, on this machine only unless told otherwise, and installing our operators."""

from __future__ import annotations

import importlib
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import ReviewError
from diffumask_datasets.review.database import load_fiftyone

__all__ = ["install_plugin", "launch"]

PLUGIN = "diffumask-review"
LOCAL = "localhost"


def install_plugin() -> Path:
    """Copies the accept and reject operators into FiftyOne's plugin folder; returns the place.

    Raises:
        MissingDependencyError: FiftyOne is not installed, or finds no database.
    """
    fo = load_fiftyone()
    target = Path(fo.config.plugins_dir) / PLUGIN
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with as_file(files("diffumask_datasets.review") / "plugin") as plugin:
        for name in ("fiftyone.yml", "__init__.py"):
            shutil.copyfile(plugin / name, target / name)
    return target


def launch(dataset: Any, *, address: str = LOCAL, port: int | None = None, wait: bool = True) -> Any:
    """Opens the App.

    Args:
        dataset: The FiftyOne dataset.
        address: Where it listens: this machine alone, unless another is given.
        port: Its port.
        wait: Return when the last window is closed.

    Returns:
        Its session.

    Raises:
        MissingDependencyError: FiftyOne is not installed, or finds no database.
        ReviewError: Its server did not start.
    """
    fo = load_fiftyone()
    service = importlib.import_module("fiftyone.core.service")
    try:
        session = fo.launch_app(dataset, address=address, port=port, remote=not wait)
    except service.ServiceException as error:
        remedy = "the port is taken or the machine is busy: try again, or give another --port"
        raise ReviewError(f"FiftyOne's server did not start ({error}); {remedy}") from error
    if wait:
        session.wait(-1 if address != LOCAL else 3)
    return session
