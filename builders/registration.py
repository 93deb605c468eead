"""Makes ``datasets.load_dataset("diffumask", …)`` find our builder.

datasets has no plugin hook, and its registry of packaged modules globs the current directory. So the factory that turns a
name into a module is wrapped for this one name; every other call passes through untouched.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from diffumask_datasets.errors import MissingDependencyError

__all__ = ["BUILDER_MODULE", "NAME", "register"]

NAME = "diffumask"
BUILDER_MODULE = "diffumask_datasets.builders.diffumask"

_FACTORY = "dataset_module_factory"
_MARK = "_diffumask_datasets"


def register() -> None:
    """Registers the builder with datasets, by string: nothing of it is imported before it is asked for. Idempotent.

    Raises:
        MissingDependencyError: this version of datasets no longer has the function that is wrapped.
    """
    load = importlib.import_module("datasets.load")
    if not hasattr(load, _FACTORY):
        raise MissingDependencyError(
            "this version of datasets has no datasets.load.dataset_module_factory: install another "
            "(pip install 'datasets>=3.6,<6') or use diffumask_datasets.load_dataset, which needs no registration"
        )
    # datasets.inspect holds a reference of its own (get_dataset_config_names and its like).
    for module in (load, importlib.import_module("datasets.inspect")):
        factory = getattr(module, _FACTORY, None)
        if factory is not None and not hasattr(factory, _MARK):
            setattr(module, _FACTORY, _wrapped(factory))


def _wrapped(factory: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(factory)
    def find_module(path: Any, revision: Any = None, *args: Any, **kwargs: Any) -> Any:
        if path != NAME:
            return factory(path, revision, *args, **kwargs)
        from datasets.load import DatasetModule

        from diffumask_datasets.recipes.recipe import ALGORITHM

        # load_dataset keeps revision= for itself; here it is the model's, so it is handed on to the builder.
        own = {"dataset_name": NAME} | ({"revision": str(revision)} if revision else {})
        # The hash is the last part of the cache path: a new algorithm never reads files of an older one.
        return DatasetModule(BUILDER_MODULE, f"v{ALGORITHM}", own)

    setattr(find_module, _MARK, True)
    return find_module
