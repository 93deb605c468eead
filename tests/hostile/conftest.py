"""A good dataset folder, of which the hostile ones are copies."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffumask_datasets import export, generate
from diffumask_datasets.cli import main
from tests.conftest import PLANTED

Run = Any


def made_digest(made: Path) -> str:
    digest: str = yaml.safe_load((made / "recipe.yaml").read_text(encoding="utf-8"))["digest"]
    return digest


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two samples that kept all there is to keep."""
    root = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFUMASK_CACHE", str(root / "store"))
        generate(root / "ds", num_samples=2, keep_heat_maps=True, keep_threshold_curve=True, **PLANTED)
    export(root / "ds", root / "coco", format="coco")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    generate(folder / "ds", num_samples=2, keep_heat_maps=True, store=folder / "store", **PLANTED)
    return folder / "ds"


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a copy of the dataset with another recipe; gives its exit code and what it said on stderr."""
    shutil.copytree(made, tmp_path / "ds")
    digest = made_digest(made)
    verdicts = [
        f'{{"sample_id": "{digest}-{n:08d}", "verdict": "{v}"}}' for n, v in enumerate(("accepted", "rejected"))
    ]
    (tmp_path / "decisions.jsonl").write_text("\n".join(verdicts), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(command: str, recipe: str | bytes | None = None) -> tuple[Any, str]:
        if recipe is not None:
            (tmp_path / "ds" / "recipe.yaml").write_bytes(recipe.encode() if isinstance(recipe, str) else recipe)
        words = [word.format(ds=tmp_path / "ds", tmp=tmp_path, digest=digest) for word in command.split()]
        monkeypatch.setattr(sys, "argv", ["diffumask", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return run
