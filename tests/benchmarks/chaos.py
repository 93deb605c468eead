"""Runs that are killed at random moments and started again, and disks that refuse: is the dataset the same in the end?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SAMPLES = 24
RECIPE = ["car", "boat", "--model", "planted", "--set", "height=48", "--set", "width=64", "--set", "refinement=null"]
OPTIONS = ["--workers", "2", "--mask_workers", "1"]
ENVIRONMENT = {"DIFFUMASK_PLANTED_SECONDS": "0.1", "OMP_NUM_THREADS": "1"}

Kill = Callable[["subprocess.Popen[bytes]", random.Random], None]


def clean_runs(folder: Path, runs: int, *, seed: int = 0) -> int:
    """How many of ``runs``, each killed once in a random process and resumed, end with the undisturbed bytes."""

    def kill(process: subprocess.Popen[bytes], rng: random.Random) -> None:
        _kill_any(_session(process.pid), rng)

    return _clean(folder, "run", runs, seed, OPTIONS, kill)


def clean_cluster_runs(folder: Path, runs: int, *, seed: int = 0) -> int:
    """The same on a Ray cluster of two nodes, where a whole node, the driver or one of Ray's actors is killed."""
    from tests.benchmarks.two_nodes import TwoNodes

    os.environ.update(ENVIRONMENT)  # the nodes take it over
    with TwoNodes() as cluster:

        def kill(process: subprocess.Popen[bytes], rng: random.Random) -> None:
            victim = rng.choice(["node", "driver", "actor"])
            if victim == "node":
                cluster.kill_node()
            else:
                _kill_any([process.pid] if victim == "driver" else cluster.actors(), rng)

        options = [*OPTIONS, "--engine", "ray", "--address", cluster.address]
        return _clean(folder, "cluster", runs, seed, options, kill, mend=cluster.mend)


def _clean(
    folder: Path,
    name: str,
    runs: int,
    seed: int,
    options: list[str],
    kill: Kill,
    *,
    mend: Callable[[], object] = lambda: None,
) -> int:
    """How many of ``runs`` are clean; each is killed at a moment that is drawn from the time of an undisturbed one."""
    whole = folder / "undisturbed"  # by no engine: all must give the same
    if not whole.exists():
        _generate(whole, []).wait()
    started = time.monotonic()
    _generate(folder / name / "undisturbed", options).wait()
    longest = time.monotonic() - started
    clean = 0
    for number in range(runs):
        run, rng = folder / name / str(number), random.Random(f"{seed}/{number}")
        process = _generate(run, options)
        _wait(process, rng.uniform(0, longest))
        kill(process, rng)
        _end(process)
        again = _generate(run, options)
        again.wait()
        same = _files(run / "dataset") == _files(whole / "dataset") and _samples(run) == _samples(whole)
        clean += again.returncode == 0 and same
        mend()
    return clean


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)


def _generate(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "diffumask_datasets", "generate", *RECIPE, "--num-samples", str(SAMPLES), *options]
    return subprocess.Popen(
        [*command, "--output", str(folder / "dataset"), "--store", str(folder / "store")],
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _kill_any(victims: list[int], rng: random.Random) -> None:
    if victims:
        with suppress(ProcessLookupError):  # it may just have ended
            os.kill(rng.choice(sorted(victims)), signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Waits for the run, which goes on where a worker died, and for what a dead parent has left."""
    process.wait()
    while _session(process.pid):
        time.sleep(0.05)


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _samples(folder: Path) -> dict[str, bytes]:
    return {name: entry for name, entry in _files(folder / "store").items() if name.endswith(".sample")}


def full_disk_is_said(folder: Path) -> bool:
    """Whether a store on a full disk ends the run with one line, and the run goes on once there is room.

    Needs the right to mount.
    """
    message = "No space left on device; free space"
    return _said_and_mended(folder / "full", "size=64k", "remount,size=16m", message)


def read_only_store_is_said(folder: Path) -> bool:
    """The same of a store on a read-only path."""
    return _said_and_mended(folder / "read-only", "size=16m,ro", "remount,rw", "Read-only file system; free space")


def _said_and_mended(folder: Path, broken: str, mended: str, message: str) -> bool:
    store = folder / "store"
    store.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", broken, "tmpfs", str(store)], check=True)
    command = [sys.executable, "-m", "diffumask_datasets", "generate", *RECIPE, "--num-samples", str(SAMPLES)]
    places = ["--output", str(folder / "dataset"), "--store", str(store)]
    try:
        stopped = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
        subprocess.run(["mount", "-o", mended, str(store)], check=True)
        again = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", str(store)], check=True)
    said = stopped.returncode == 1 and message in stopped.stderr and "Traceback" not in stopped.stderr
    return said and again.returncode == 0
