"""Two runs into one output: what is there in the end is whole and of one of them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from diffumask_datasets.dataset.atomic import atomic_file, atomic_folder, exclusive
from diffumask_datasets.errors import ExportError

FILES = [f"part-{number}" for number in range(20)] + ["recipe"]

WRITER = """
import random, sys, time
from pathlib import Path
from diffumask_datasets.dataset.atomic import atomic_folder
from diffumask_datasets.errors import ExportError

name, output, files = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
written = 0
print("ready", flush=True)
sys.stdin.readline()
while written < 10:
    try:
        with atomic_folder(output) as draft:
            for file in files:
                (draft / file).write_text(name)
                time.sleep(random.random() / 5000)
        written += 1
    except ExportError as error:
        assert "another run is writing" in str(error), error
        time.sleep(random.random() / 200)
"""


def write(output: Path, text: str) -> None:
    with atomic_folder(output) as draft:
        for name in FILES:
            (draft / name).write_text(text)


def held_by(output: Path) -> set[str]:
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    return {path.read_text() for path in output.iterdir()}


def test_processes_that_write_at_once_leave_the_output_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name, str(tmp_path / "out"), *FILES], **pipes) for name in "ab"]  # type: ignore[call-overload]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(held_by(tmp_path / "out")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_second_run_is_told_to_wait_and_nothing_of_the_first_is_lost(tmp_path: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(ExportError) as caught:
            write(tmp_path / "out", "second")
        refused.append(str(caught.value))

    with atomic_folder(tmp_path / "out") as draft:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        for name in FILES:
            (draft / name).write_text("first")
    assert refused == [f"another run is writing {tmp_path / 'out'}: wait for it, or choose another --output"]
    assert held_by(tmp_path / "out") == {"first"}


def test_without_locks_two_runs_never_share_a_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(FileLock, "acquire", none)
    with pytest.raises(ExportError, match="cannot write"):  # noqa: PT012, SIM117
        with atomic_folder(tmp_path / "out") as draft:
            (draft / "recipe").write_text("first")
            write(tmp_path / "out", "second")
            (draft / "part-0").write_text("first")
    assert held_by(tmp_path / "out") == {"second"}


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom diffumask_datasets.dataset.atomic import atomic_folder\n"
        f"with atomic_folder(Path({str(tmp_path / 'out')!r})) as draft:\n"
        "    (draft / 'recipe').write_text('killed')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.unfinished"]
    write(tmp_path / "out", "next")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert held_by(tmp_path / "out") == {"next"}


def test_the_old_output_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out"):
        1 / 0  # noqa: B018
    with (
        pytest.raises(ExportError, match=r"cannot write .*out: No such file"),
        atomic_folder(tmp_path / "out") as draft,
    ):
        draft.rmdir()
    assert held_by(tmp_path / "out") == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_output_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    write(tmp_path / "out", "linked")
    assert (tmp_path / "out").is_symlink()
    assert held_by(tmp_path / "disk" / "out") == {"linked"}


def test_a_file_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    with atomic_file(path) as draft:
        draft.write_text("old")
    with pytest.raises(ExportError, match=r"cannot write .*page.html: No such file"), atomic_file(path):
        pass
    with pytest.raises(ZeroDivisionError), atomic_file(path) as draft:
        draft.write_text(str(1 / 0))
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    assert path.read_text() == "old"


def test_a_folder_that_is_held_keeps_what_is_in_it(tmp_path: Path) -> None:
    with exclusive(tmp_path / "work", tmp_path / "out"):
        (tmp_path / "work" / "fold").mkdir()
        with pytest.raises(ExportError, match="another run"), exclusive(tmp_path / "work", tmp_path / "out"):
            pass
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["fold"]
