import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffumask_datasets.errors import ModelError, WorkerError
from diffumask_datasets.generation import worker_process
from diffumask_datasets.generation.workers import Progress, Work, WorkerPool
from tests.helpers.waiting import wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""That of scripts which import the tests."""

# What crews run stands in diffumask_datasets or in a module of the tests: the processes import it by name.


def interrupted() -> Work[int, int]:
    """Sends Ctrl-C to its own process and returns the number."""

    def work(task: int, report: Progress) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return task

    return work


def careless(folder: Path) -> Work[tuple[str, int], tuple[int, int]]:
    """Does ("die" | "fail" | "wait" | a number); dies of one name once, of another always."""

    def work(task: tuple[str, int], report: Progress) -> tuple[int, int]:
        what, number = task
        report(number)
        if what == "dies once" and not (folder / str(number)).exists():
            (folder / str(number)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "dies always":
            os._exit(3)
        if what == "fails":
            raise ModelError(f"{number} cannot be")
        if what == "waits":
            time.sleep(600)
        return number, os.getpid()

    return work


def silent(_: Path) -> Work[int, None]:
    def work(task: int, report: Progress) -> None:
        os._exit(3)

    return work


def test_tasks_are_done_by_other_processes_in_any_number(tmp_path: Path) -> None:
    with WorkerPool(careless, [(tmp_path,), (tmp_path,)]) as crew:
        done = [crew.submit(("is done", number)) for number in range(8)]
        assert [future.result()[0] for future in done] == list(range(8))
        processes = {future.result()[1] for future in done}
    assert os.getpid() not in processes
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]


def test_the_dead_are_replaced_and_their_task_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reports: list[int] = []
    with WorkerPool(careless, [(tmp_path,)]) as crew:
        first, second = crew.submit(("dies once", 1), reports.append), crew.submit(("dies once", 2), reports.append)
        assert (first.result()[0], second.result()[0]) == (1, 2)
    assert reports == [1, 1, 2, 2]
    assert caplog.text.count("died (exit code -9); another takes its place") == 2


def test_a_task_that_kills_every_process_is_given_up(tmp_path: Path) -> None:
    with (
        WorkerPool(silent, [(tmp_path,)]) as crew,
        pytest.raises(WorkerError, match=r"died 3 times at the same place \(exit"),
    ):
        crew.submit(1).result()


def test_errors_of_ours_come_back_and_the_process_lives_on(tmp_path: Path) -> None:
    with WorkerPool(careless, [(tmp_path,)]) as crew:
        before = crew.submit(("is done", 1)).result()[1]
        with pytest.raises(ModelError, match="7 cannot be"):
            crew.submit(("fails", 7)).result()
        assert crew.submit(("is done", 1)).result()[1] == before


def test_closing_ends_tasks_that_take_long(tmp_path: Path) -> None:
    crew = WorkerPool(careless, [(tmp_path,)])
    begun: list[int] = []
    future = crew.submit(("waits", 1), begun.append)
    wait_until(lambda: begun, "the task begins")
    crew.close()
    with pytest.raises(WorkerError, match="the workers were stopped"):
        future.result()


ORPHANS = """
import os, sys, time
from pathlib import Path
from diffumask_datasets.generation.workers import WorkerPool
from tests.generation.test_workers import careless
crew = WorkerPool(careless, [(Path(sys.argv[1]),)])
print(crew.submit(("is done", 1)).result()[1], flush=True)
time.sleep(600)
"""


def parent_and_child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    script = folder / "script.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def locking(_: Path) -> Work[int, int]:
    """Takes a semaphore, as the progress bars of tqdm do."""
    lock = multiprocessing.RLock()

    def work(task: int, report: Progress) -> int:
        with lock:
            return task

    return work


CLOSED = """
from pathlib import Path
from diffumask_datasets.generation.workers import WorkerPool
from tests.generation.test_workers import locking
with WorkerPool(locking, [(Path(),), (Path(),)]) as crew:
    print([future.result() for future in [crew.submit(task) for task in range(4)]])
"""


def test_a_crew_that_is_done_leaves_no_semaphores(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CLOSED)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert (done.stdout, done.stderr) == ("[0, 1, 2, 3]\n", "")


def test_the_first_process_of_all_never_sees_ctrl_c(tmp_path: Path) -> None:
    parent, child = parent_and_child(tmp_path)
    blocked = next(
        line for line in Path(f"/proc/{child}/status").read_text().splitlines() if line.startswith("SigBlk:")
    )
    parent.kill()
    parent.wait()
    assert int(blocked.split()[1], base=16) >> (signal.SIGINT - 1) & 1


def test_processes_ignore_ctrl_c_where_signals_have_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_windows = SimpleNamespace(signal=signal.signal, SIGINT=signal.SIGINT, SIG_IGN=signal.SIG_IGN)
    monkeypatch.setattr(worker_process, "signal", as_on_windows)
    with WorkerPool(interrupted, [()]) as pool:
        assert pool.submit(3).result(timeout=60) == 3


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent, child = parent_and_child(tmp_path)
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), f"process {child} ends with its parent")
    assert parent.returncode == -signal.SIGKILL


FROM_A_PIPE = """
from pathlib import Path
from diffumask_datasets.generation.workers import WorkerPool
from tests.generation.test_workers import careless
print("the script runs")
with WorkerPool(careless, [(Path(),)]) as crew:
    print(crew.submit(("is done", 5)).result()[0])
"""


def test_a_script_needs_no_guard_and_no_file(tmp_path: Path) -> None:
    # As from a notebook's cell. A module of the folder that bears a name of the standard library is not taken for it.
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong pickle')")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.remove(''); exec({FROM_A_PIPE!r})"],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
        cwd=tmp_path,
    )
    assert done.stdout == "the script runs\n5\n"
