"""The memory that a model takes, where it runs."""

from __future__ import annotations

import resource
import sys

import torch


def peak_megabytes() -> float:
    """The most memory that was taken so far: torch's on the GPU, where there is one, else that of the whole process."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    # In kibibytes, on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak() -> None:
    """Has the peak on a GPU begin anew; that of a process never falls."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
