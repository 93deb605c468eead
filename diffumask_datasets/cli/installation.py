"""What is installed, what is missing, and how to fix it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.generation.store import SampleStore, default_store_root

__all__ = ["Finding", "examine"]

REQUIRED = {
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "datasets": "datasets",
    "huggingface_hub": "huggingface_hub",
    "pycocotools": "pycocotools.mask",
    "pydensecrf2": "pydensecrf.densecrf",
}
"""Distribution → a module that needs its compiled parts."""

OPTIONAL = {"fiftyone": "fiftyone", "matplotlib": "matplotlib", "ray": "ray"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``remedy`` is empty where nothing is wrong."""

    name: str
    state: str
    remedy: str = ""
    required: bool = True

    @property
    def healthy(self) -> bool:
        """Whether this stands in nobody's way."""
        return not (self.remedy and self.required)


def examine() -> list[Finding]:
    """Looks at packages, device and store, and generates one image; changes nothing but an empty folder in the cache."""
    findings = [Finding("python", platform.python_version())]
    findings += [_package(name, module, required=True) for name, module in REQUIRED.items()]
    findings += [_package(name, module, required=False) for name, module in OPTIONAL.items()]
    findings += [_checked("registration", _registration), _checked("device", _device)]
    findings += [_checked("toybox", _toybox), _checked("sample store", _store)]
    return findings


def _package(name: str, module: str, *, required: bool) -> Finding:
    remedy = f"pip install {name}" if required else f"optional: pip install {name}"
    try:
        version = importlib.metadata.version(name)
        if required:
            importlib.import_module(module)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", remedy, required)
    except ImportError as error:
        return Finding(name, f"broken: {error}", f"{remedy} --force-reinstall", required)
    return Finding(name, version)


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check())
    except (DiffuMaskError, ImportError, OSError) as error:
        return Finding(name, "not usable", " ".join(str(error).split()))


def _registration() -> str:
    from datasets.load import dataset_module_factory

    return f"load_dataset('diffumask') → {dataset_module_factory('diffumask').module_path}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({os.cpu_count()} cores)"


def _toybox() -> str:
    from diffumask_datasets.generation.trial import generate_trial

    return generate_trial().report


def _store() -> str:
    root = default_store_root()
    SampleStore(root, "doctor").check_writable()
    if isinstance(root, str):
        return root
    return f"{root} ({shutil.disk_usage(root).free / 1e9:.0f} GB free)"
