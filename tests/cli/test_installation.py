import importlib.metadata
import re

import pytest

from diffumask_datasets.cli.installation import Finding, examine


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """The report where pycocotools is missing."""
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "pycocotools":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUMASK_CACHE", str(tmp_path_factory.mktemp("store")))
        patch.setattr(importlib.metadata, "version", version)
        return examine()


def test_a_missing_package_names_its_pip_line(findings: list[Finding]) -> None:
    assert Finding("pycocotools", "missing", "pip install pycocotools", True) in findings


def test_the_toybox_generates_what_it_is_asked_for(findings: list[Finding]) -> None:
    (toybox,) = [finding for finding in findings if finding.name == "toybox"]
    assert toybox.healthy
    assert re.fullmatch(
        r"generated 'a photo of a car': the judge sees car, mask quality 0\.\d\d, IoU with the judge's mask 0\.[89]\d",
        toybox.state,
    )


def test_optional_packages_stand_in_nobodys_way() -> None:
    assert Finding("ray", "missing", "optional: pip install ray", required=False).healthy
    assert not Finding("torch", "missing", "pip install torch").healthy
