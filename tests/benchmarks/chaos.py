"""Runs that are killed at random moments and started again, and a full disk: is the dataset the same in the end?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

SAMPLES = 24
LONGEST = 12.0
"""Seconds within which a kill falls: starting takes a few, painting SAMPLES of 0.1 s the rest."""

RECIPE = ["car", "boat", "--model", "planted", "--set", "height=48", "--set", "width=64", "--set", "refinement=null"]
OPTIONS = ["--num-samples", str(SAMPLES), "--workers", "2", "--refiners", "1"]


def clean_runs(folder: Path, runs: int, *, seed: int = 0) -> int:
    """How many of ``runs``, each killed once in a random process and resumed, end with the undisturbed bytes."""
    whole = folder / "undisturbed"
    _generate(folder, "undisturbed").wait()
    wanted, stored = _files(whole), _samples(folder / "undisturbed-store")
    clean = 0
    for number in range(runs):
        name = f"run-{number}"
        process = _generate(folder, name)
        _kill_one(process, random.Random(f"{seed}/{number}"))
        _end(process)
        again = _generate(folder, name)
        again.wait()
        same = again.returncode == 0 and _files(folder / name) == wanted
        clean += same and _samples(folder / f"{name}-store") == stored
    return clean


def _generate(folder: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "diffumask_datasets", "generate", *RECIPE, *OPTIONS]
    places = ["--output", str(folder / name), "--store", str(folder / f"{name}-store")]
    environment = {**os.environ, "DIFFUMASK_PLANTED_SECONDS": "0.1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *places],
        env=environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _kill_one(process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """SIGKILL to the parent, a worker or a refiner, whichever is drawn of those that run at a moment that is drawn."""
    until = time.monotonic() + rng.uniform(0, LONGEST)
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    victims = sorted(_session(process.pid))
    if victims:
        os.kill(rng.choice(victims), signal.SIGKILL)


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


def _samples(store: Path) -> dict[str, bytes]:
    return {name: entry for name, entry in _files(store).items() if name.endswith(".sample")}


def full_disk_is_said(folder: Path) -> bool:
    """Whether a store on a full disk ends the run with one line, and the run goes on once there is room.

    Needs the right to mount.
    """
    small = folder / "small-store"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    command = [sys.executable, "-m", "diffumask_datasets", "generate", *RECIPE, "--num-samples", str(SAMPLES)]
    places = ["--output", str(folder / "small"), "--store", str(small)]
    try:
        full = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
        subprocess.run(["mount", "-o", "remount,size=16m", str(small)], check=True)
        again = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    said = full.returncode == 1 and "No space left on device; free space" in full.stderr
    return said and "Traceback" not in full.stderr and again.returncode == 0
