"""Makes ``datasets.load_dataset("diffumask", …)`` find our builder.

datasets has no plugin hook, and its registry of packaged modules globs the current directory. So the factory that turns a
name into a module is wrapped for this one name; every other call passes through untouched. It is wrapped when datasets is
first imported, so that importing this package does not import datasets.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from diffumask_datasets.errors import MissingDependencyError

__all__ = ["BUILDER_MODULE", "NAME", "register"]

NAME = "diffumask"
BUILDER_MODULE = "diffumask_datasets.builders.diffumask"

_FACTORY = "dataset_module_factory"
_MARK = "_diffumask_datasets"
_NOT_FOUND = (
    "this version of datasets has no datasets.load.dataset_module_factory: install another "
    "(pip install 'datasets>=3.6,<6') or use diffumask_datasets.load_dataset, which needs no registration"
)

# datasets.inspect holds a reference of its own (get_dataset_config_names and its like).
_MODULES = ("datasets.load", "datasets.inspect")


def register() -> None:
    """Registers the builder with datasets, now or when datasets is first imported. Idempotent.

    The builder is registered by its module's name: nothing of it is imported before it is asked for.

    Raises:
        MissingDependencyError: datasets is imported, and this version lacks the function that is wrapped. Where datasets
            is imported later, that is a warning.
    """
    loaded = sys.modules.get(_MODULES[0])
    if loaded is not None and not hasattr(loaded, _FACTORY):
        raise MissingDependencyError(_NOT_FOUND)
    for name in _MODULES:
        wrapt.register_post_import_hook(_wrap_factory, name)


def _wrap_factory(module: ModuleType) -> None:
    factory = getattr(module, _FACTORY, None)
    if factory is None and module.__name__ == _MODULES[0]:
        warnings.warn(_NOT_FOUND, stacklevel=2)
    elif factory is not None and not hasattr(factory, _MARK):
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
