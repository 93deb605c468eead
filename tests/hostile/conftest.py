"""A good dataset folder, of which the hostile ones are copies."""

from pathlib import Path

import pytest

from diffumask_datasets import export, generate
from tests.conftest import PLANTED


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two samples that kept all there is to keep."""
    root = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUMASK_CACHE", str(root / "store"))
        generate(root / "ds", num_samples=2, keep_heat_maps=True, keep_threshold_curve=True, **PLANTED)
    export(root / "ds", root / "coco", format="coco")
    return root
