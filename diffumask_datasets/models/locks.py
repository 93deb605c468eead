"""Locks for state that all threads of a process share, among them the one lock for models."""

from __future__ import annotations

# Two of them for their handlers alone, which must be registered before ours; see ForkSafeLock.
import concurrent.futures.thread  # noqa: F401
import logging  # noqa: F401
import os
import threading
from contextlib import ContextDecorator

__all__ = ["ForkSafeLock", "model_lock"]


class ForkSafeLock(ContextDecorator):
    """A re-entrant lock that no fork can leave locked, nor what it protects half changed. Also decorates functions.

    A fork waits until no other thread holds it, and the child gets a new one. Make such locks for modules, not for objects:
    each stays registered for the life of the process.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        # Handlers that run before a fork run last registered first. Whoever holds this lock may need those of logging and
        # of thread pools for a moment, so a fork must take this one first, or both would wait for ever.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._acquire, after_in_parent=self._release, after_in_child=self._renew)

    def __enter__(self) -> None:
        self._acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._release()

    def _acquire(self) -> None:
        self._lock.acquire()

    def _release(self) -> None:
        self._lock.release()

    def _renew(self) -> None:
        # Threads that waited for the old one do not exist in the child; the one that forked may still be within the block.
        self._lock = threading.RLock()
        for _ in range(self._depth):
            self._acquire()


model_lock = ForkSafeLock()
"""Held while any model is loaded or run, so that one thread of a process does so at a time.

Running a model puts hooks on its modules, exchanges its attention processors and counts the steps of its scheduler. Loading
one changes torch's default dtype and how modules are made, for all threads. ``functools.lru_cache`` is no lock: threads that
miss together all load.

Never hold it while waiting for another thread that may need it, such as one that reads a stream of samples: the training of
a segmenter as a whole must do without.
"""
