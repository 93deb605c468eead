"""Makes the CPU give the same bytes in every process and thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_thread"]


@contextmanager
def single_thread() -> Iterator[None]:
    """Torch computes on one CPU thread within the block; afterwards on as many as before. Any thread may enter it.

    The number of threads changes the last bits: torch chooses another kernel for 1x1 convolutions on one thread than on
    several, and splits activations so that other elements take the scalar path. Workers rarely have the threads that
    their parent has, so only a fixed number gives the same bytes in both. Work in parallel through processes.
    """
    if _own.depth == 0:
        _own.before = _users.enter()
    _own.depth += 1
    try:
        yield
    finally:
        _own.depth -= 1
        if _own.depth == 0:
            _users.leave(_own.before)


class _Users:
    """The threads that are within the block.

    Torch keeps a number for each thread and one for the process, which a thread takes over when it first computes. A thread
    that does so while another is within the block finds 1, which it must not keep.
    """

    def __init__(self, count: int = 0, before: int = 1) -> None:
        self._lock = threading.Lock()
        self._count = count
        self._before = before

    def enter(self) -> int:
        """Begins the block for this thread; the number that :meth:`leave` gives back."""
        with self._lock:
            # Asked first in any case: a thread that has not asked yet would take the process's number within the block.
            own = torch.get_num_threads()
            if self._count == 0:
                self._before = own
            self._count += 1
            torch.set_num_threads(1)
            return own if own > 1 else self._before

    def leave(self, before: int) -> None:
        with self._lock:
            self._count -= 1
            torch.set_num_threads(before)


class _Own(threading.local):
    """How deep this thread is within the block, and the number of threads it had."""

    depth = 0
    before = 1


_users = _Users()
_own = _Own()


def _forget_others() -> None:
    """Of the threads that were within the block, a forked process has at most the one that forked."""
    global _users
    _users = _Users(count=int(_own.depth > 0), before=_own.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
