"""What every benchmark shares: the figures as a table and as flat JSON, with the run that made them."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("torch", "diffusers", "transformers", "datasets", "numpy")


def run(
    name: str,
    measure: Callable[..., Mapping[str, float] | Iterator[Mapping[str, float]]],
    *,
    parts: Sequence[str] = (),
    keeps: bool = False,
) -> None:
    """Runs ``measure(quick)``, prints its figures and writes them where design says.

    A benchmark of several ``parts`` is called as ``measure(quick, chosen)``, with those that the command names. Where it
    ``keeps``, the figures of the other parts stay as an earlier run left them, and the file says which run made which.
    Figures that come one part after another are written as they come.
    """
    parser = argparse.ArgumentParser(description=f"make bench-{name}")
    parser.add_argument("--quick", action="store_true", help="a smaller sample, into build/benchmarks")
    parser.add_argument("--parts", default=",".join(parts), help=f"some of {','.join(parts) or 'none'}")
    given = parser.parse_args()
    quick, chosen = given.quick, [part for part in given.parts.split(",") if part]
    unknown = set(chosen) - set(parts)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are: {', '.join(parts) or 'none'}")
    folder = ROOT / ("build" if quick else "docs") / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    command = f"make bench-{name}" + (" QUICK=1" if quick else "")
    command += f" PARTS={given.parts}" if chosen != list(parts) else ""
    path = folder / f"{name}.json"
    some = keeps and chosen != list(parts) and path.exists()
    record = json.loads(path.read_text(encoding="utf-8")) if some else {}
    started = time.monotonic()
    found = measure(quick, chosen) if parts else measure(quick)
    for figures in [found] if isinstance(found, Mapping) else found:
        width = max(map(len, figures))
        for figure, number in figures.items():
            print(f"{figure:{width}}  {number:.4g}", flush=True)
        run_by = circumstances(command, time.monotonic() - started)
        record |= {**figures, f"_run {given.parts}" if some else "_run": run_by}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def paired_ratio(
    one: Callable[[], object],
    other: Callable[[], object],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median over rounds of time(one) / time(other), taken in turns so that a drifting machine hurts both; its spread.

    ``time.process_time`` as ``clock`` leaves other work on the machine out, where the work is done on this CPU alone.
    """
    ratios = []
    for number in range(rounds):
        # The order alternates, so that neither is always the one that finds warm caches.
        first, second = (one, other) if number % 2 else (other, one)
        times = {first: _seconds(first, clock)}
        times[second] = _seconds(second, clock)
        ratios.append(times[one] / times[other])
    return float(np.median(ratios)), float(np.ptp(ratios))


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


def circumstances(command: str, seconds: float) -> dict[str, object]:
    """The run that made the figures: command, date, machine, versions, duration."""
    return {
        "command": command,
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {_gpu()}python {platform.python_version()}",
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "seconds": round(seconds),
    }


def _gpu() -> str:
    return f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
