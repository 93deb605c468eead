"""Runs the blocks of the documents that say they run, as a reader would. Run by ``make bench-docs``.

Each page has an empty folder, in which its blocks run in order; those that run "on out/ds" find the dataset of README there.
The quick run takes fewer samples and steps than the page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.harness import ROOT, run
from tests.docs.blocks import Block, running_blocks

FEWER = (
    (r"--num-samples \d+", "--num-samples 8"),
    (r"num_samples=\d+", "num_samples=8"),
    (r"--steps \d+", "--steps 4"),
)


def measure(quick: bool) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        further = running_blocks("runs on out/ds")
        for block in [*running_blocks(), *further]:
            place = Path(folder, block.page)
            place.mkdir(parents=True, exist_ok=True)
            if block in further:
                shutil.copytree(Path(folder, "README.md/out/ds"), place / "out/ds", dirs_exist_ok=True)
            started = time.perf_counter()
            _run(block, place, quick=quick)
            figures[f"seconds {block}"] = time.perf_counter() - started
    return figures


def _run(block: Block, folder: Path, *, quick: bool) -> None:
    code = block.code
    for pattern, few in FEWER if quick else ():
        code = re.sub(pattern, few, code)
    # The program of this environment, a store of its own: nothing that was generated before may help.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DIFFUMASK_CACHE": str(folder / "store"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    subprocess.run(command, cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    run("docs", measure)
