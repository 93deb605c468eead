"""``make setup`` says in one line what the machine lacks; each machine is a folder of programs that is the whole PATH."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "check_setup.sh"
SHELL = shutil.which("sh")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine that has everything: links to programs of this one, a compiler and a disk with room."""
    programs = tmp_path / "bin"
    programs.mkdir()
    awk = shutil.which("awk")
    assert awk is not None
    (programs / "awk").symlink_to(awk)
    program(programs / "g++", "exit 0")
    program(programs / "df", "echo Filesystem 1024-blocks Used Available; echo /dev/disk 9000000 1000000 8000000")
    program(programs / "python3", f'exec {sys.executable} "$@"')
    return programs


def program(path: Path, script: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!{SHELL}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def checked(programs: Path) -> tuple[int, str]:
    environment = {**{k: v for k, v in os.environ.items() if k != "CXX"}, "PATH": str(programs)}
    command = [str(SHELL), str(SCRIPT), "python3", str(programs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_whole_machine_passes(machine: Path) -> None:
    assert checked(machine) == (0, "")


def test_no_python(machine: Path) -> None:
    (machine / "python3").unlink()
    code, said = checked(machine)
    assert code == 1
    assert said == (
        "make setup: there is no python3; install Python 3.10 or newer, or name another one: "
        "make setup PYTHON=python3.12\n"
    )


def test_an_old_python(machine: Path) -> None:
    program(machine / "python3", 'case "$2" in *version_info*) exit 1;; esac')
    assert checked(machine) == (
        1,
        "make setup: python3 is older than 3.10; name a newer one: make setup PYTHON=python3.12\n",
    )


def test_no_venv(machine: Path) -> None:
    program(machine / "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    code, said = checked(machine)
    assert (code, said.count("\n")) == (1, 1)
    assert said.endswith("install venv (Debian, Ubuntu: apt install python3-venv)\n")


def test_no_compiler(machine: Path) -> None:
    (machine / "g++").unlink()
    code, said = checked(machine)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("make setup: there is no C++ compiler, which pydensecrf2 needs; install one (Debian, ")


def test_no_headers(machine: Path) -> None:
    program(machine / "python3", 'case "$2" in *sysconfig*) echo /nowhere;; esac')
    code, said = checked(machine)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("make setup: the headers of python3 are missing, which pydensecrf2 needs; install them")


def test_a_full_disk(machine: Path) -> None:
    program(machine / "df", "echo Filesystem 1024-blocks Used Available; echo /dev/disk 9000000 8100000 900000")
    assert checked(machine) == (
        1,
        "make setup: the disk of this folder has 900 MB left, but the environment takes 4000 MB; free some space\n",
    )
