import subprocess
import sys
from pathlib import Path
from typing import Any

from diffumask_datasets import generate

WITHOUT = """
import sys
sys.modules["fiftyone"] = None  # as where it is not installed
from diffumask_datasets.cli import main
main()
"""


def test_without_fiftyone_there_is_a_pip_line_and_the_page_still_works(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)

    def review(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT, "review", str(tmp_path / "ds"), *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    missing = review()
    assert missing.returncode == 1
    assert "pip install 'diffumask-datasets[fiftyone]'" in missing.stderr
    assert "--html review.html" in missing.stderr
    page = review("--html", "review.html")
    assert (page.returncode, page.stdout) == (0, "wrote review.html: open it in a browser\n"), page.stderr
    assert (tmp_path / "review.html").stat().st_size > 10_000
