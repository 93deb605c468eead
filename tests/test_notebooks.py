"""The notebooks run from the first cell to the last, on few samples and steps, and can be opened by any program."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import diffumask_here

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL = {"NUM_SAMPLES": 4, "STEPS": 2, "TEST_IMAGES": 4}
"""In place of what the cell with the tag ``parameters`` says."""
RESULTS = {"first_dataset": "coco/diffumask-export.json", "trained_segmenter": "scores/scores.json"}
"""What each has written when it is done."""


def cells_of(notebook: Path) -> Iterator[dict[str, Any]]:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["metadata"]["kernelspec"]["name"]) == (4, "python3")
    yield from document["cells"]


def run(cell: dict[str, Any], names: dict[str, Any], folder: Path) -> list[str]:
    """Does what Jupyter does with a cell, but installs nothing; gives the commands that it ran."""
    lines = "".join(cell["source"]).splitlines()
    commands = [eval("f" + repr(line[1:]), names) for line in lines if line.startswith("!")]
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "diffumask"
        done = diffumask_here(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    exec("\n".join(line for line in lines if line[:1] not in ("!", "%")), names)
    return commands


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(RESULTS)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    names: dict[str, Any] = {}
    ran = []
    for cell in cells_of(notebook):
        if cell["cell_type"] == "code":
            ran += run(cell, names, tmp_path)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= {name: SMALL[name] for name in SMALL.keys() & names}
    assert len(ran) >= 3
    assert (tmp_path / "out" / RESULTS[notebook.stem]).stat().st_size > 100


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_the_package_first_and_is_small(notebook: Path) -> None:
    first = next(cell for cell in cells_of(notebook) if cell["cell_type"] == "code")
    assert "".join(first["source"]).startswith("%pip install -q ")
    assert "diffumask-datasets" in first["source"][0]
    assert notebook.stat().st_size < 100_000
    ids = [cell["id"] for cell in cells_of(notebook)]
    assert len(set(ids)) == len(ids)
