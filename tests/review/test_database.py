import sys
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets import generate
from tests.helpers.command import diffumask_here


def test_without_fiftyone_there_is_a_pip_line_and_the_page_still_works(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)
    monkeypatch.setitem(sys.modules, "fiftyone", None)  # as where it is not installed
    missing = diffumask_here("review", "ds", cwd=tmp_path)
    assert missing.returncode == 1
    assert "pip install 'diffumask-datasets[fiftyone]'" in missing.stderr
    assert "--html review.html" in missing.stderr
    page = diffumask_here("review", "ds", "--html", "review.html", cwd=tmp_path)
    assert (page.returncode, page.stdout) == (0, "wrote review.html: open it in a browser\n"), page.stderr
    assert (tmp_path / "review.html").stat().st_size > 10_000
