"""What is published: the sdist with tests that run, the wheel built from it, and the page of an index such as PyPI."""

import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from setup import long_description

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Distributions(NamedTuple):
    sdist: Path
    """Unpacked."""
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Built as for publication, from a copy: what an earlier build left here must not help."""
    folder = tmp_path_factory.mktemp("distributions")
    left = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "build", "out", "*.egg-info")
    shutil.copytree(ROOT, folder / "copy", symlinks=True, ignore=left)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "copy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "sdist", filter="data")
    return Distributions(next((folder / "sdist").iterdir()), next(folder.glob("*.whl")))


def files(folder: Path) -> set[str]:
    """The files of a folder, those behind its links too."""
    found = [path for link in (folder, *(p for p in folder.iterdir() if p.is_symlink())) for path in link.rglob("*")]
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_the_sdist_is_whole_without_pictures_and_figures(built: Distributions) -> None:
    held = {path.relative_to(built.sdist).as_posix() for path in built.sdist.rglob("*") if path.is_file()}
    folders = (".github", "builders", "diffumask_datasets", "examples", "exporters", "tests", "tools")
    wanted = set.union(*(files(ROOT / folder) for folder in folders))
    wanted |= {path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")}
    wanted |= {".pre-commit-config.yaml"}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert wanted - held == set()
    assert {name for name in held - wanted if ".egg-info/" not in name} == {"PKG-INFO", "setup.cfg"}


def test_tests_of_the_sdist_run(built: Distributions) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/recipes/test_captions.py",
        "tests/exporters/test_registry.py",
    ]
    done = subprocess.run(command, cwd=built.sdist, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_every_module_and_all_data(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == files(ROOT / "diffumask_datasets")


def test_the_page_of_an_index_has_no_dead_link(built: Distributions) -> None:
    metadata = email.message_from_bytes((built.sdist / "PKG-INFO").read_bytes())
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert "Paper, https://arxiv.org/abs/2303.11681" in metadata.get_all("Project-URL")
    targets = LINK.findall(str(metadata.get_payload()))
    assert "https://arxiv.org/abs/2303.11681" in targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_links_of_the_readme_lead_somewhere_in_the_repository() -> None:
    targets = [target for target in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if ":" not in target]
    assert len(targets) > 10
    assert [target for target in targets if not (ROOT / target.partition("#")[0]).exists()] == []


@pytest.mark.parametrize(
    ("text", "named", "nameless"),
    [
        ("[all](docs/a.md)", "[all](https://h/o/n/blob/HEAD/docs/a.md)", "all"),
        ("![Two cars](docs/a.png)", "![Two cars](https://h/o/n/raw/HEAD/docs/a.png)", "Two cars"),
        (
            "[why](docs/a.md#b) · [c](#d)",
            "[why](https://h/o/n/blob/HEAD/docs/a.md#b) · [c](https://h/o/n#d)",
            "why · c",
        ),
        ("[paper](https://arxiv.org)", "[paper](https://arxiv.org)", "[paper](https://arxiv.org)"),
        ('ds[0]["image"], (x)', 'ds[0]["image"], (x)', 'ds[0]["image"], (x)'),
    ],
)
def test_relative_links(text: str, named: str, nameless: str) -> None:
    assert long_description(text, "https://h/o/n") == named
    assert long_description(text, None) == nameless
