"""Makes the CPU give the same bytes in every process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_thread"]


@contextmanager
def single_thread() -> Iterator[None]:
    """Torch computes on one CPU thread within the block.

    The number of threads changes the last bits: torch chooses another kernel for 1x1 convolutions on one thread than on
    several, and splits activations so that other elements take the scalar path. Workers rarely have the threads that
    their parent has, so only a fixed number gives the same bytes in both. Work in parallel through processes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
