import importlib.metadata

import pytest

from diffumask_datasets.doctor import Finding, examine


def test_a_missing_package_names_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "pycocotools":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert Finding("pycocotools", "missing", "pip install pycocotools", True) in examine()


def test_optional_packages_stand_in_nobodys_way() -> None:
    assert Finding("ray", "missing", "optional: pip install ray", required=False).healthy
    assert not Finding("torch", "missing", "pip install torch").healthy
