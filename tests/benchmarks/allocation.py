"""What a piece of work allocates, counted by torch's own allocator: the same number on every run and every machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile


def allocated_mb(work: Callable[[], object]) -> tuple[float, float]:
    """The most that tensors made within ``work`` held at once, and what of them is left while its result lives, in MB.

    Only CPU tensors, temporary ones inside torch's operators included; what exists already is not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            result = work()
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    del result
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    held = peak = 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        held += size
        peak = max(peak, held)
    return peak / 2**20, held / 2**20
