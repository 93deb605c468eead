"""Class names in, a labelled segmentation dataset out: DiffuMask (arXiv 2303.11681) as a Hugging Face datasets plugin.

Importing this package registers ``datasets.load_dataset("diffumask", …)``. It loads neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffumask_datasets.builders.registration import register

if TYPE_CHECKING:
    from diffumask_datasets.builders.loading import load_dataset
    from diffumask_datasets.dataset.shards import merge
    from diffumask_datasets.exporters import export, verify
    from diffumask_datasets.generation.generate import generate
    from diffumask_datasets.generation.reproduce import reproduce
    from diffumask_datasets.hub import push
    from diffumask_datasets.recipes.recipe import Recipe
    from diffumask_datasets.review import to_fiftyone
    from diffumask_datasets.sample import ObjectAnnotation, Sample

__version__ = "0.1.0"

__all__ = [
    "ObjectAnnotation",
    "Recipe",
    "Sample",
    "__version__",
    "export",
    "generate",
    "load_dataset",
    "merge",
    "push",
    "register",
    "reproduce",
    "to_fiftyone",
    "verify",
]

_HOMES = {
    "ObjectAnnotation": "diffumask_datasets.sample",
    "Recipe": "diffumask_datasets.recipes.recipe",
    "Sample": "diffumask_datasets.sample",
    "export": "diffumask_datasets.exporters",
    "generate": "diffumask_datasets.generation.generate",
    "load_dataset": "diffumask_datasets.builders.loading",
    "merge": "diffumask_datasets.dataset.shards",
    "push": "diffumask_datasets.hub",
    "reproduce": "diffumask_datasets.generation.reproduce",
    "to_fiftyone": "diffumask_datasets.review",
    "verify": "diffumask_datasets.exporters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


register()
