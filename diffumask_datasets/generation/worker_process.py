"""A process that works for this one and imports nothing of the script that runs.

multiprocessing's spawned processes import the script again, which therefore needs a guard and cannot be a notebook's cell or
come from a pipe. Ours are started by a command line, so that :func:`diffumask_datasets.generate` may use them by default.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.models.garbage import collection_paused

__all__ = ["DONE", "FAILED", "REPORT", "WorkerProcess", "serve"]

REPORT, DONE, FAILED = "report", "done", "failed"

SECONDS_TO_END = 10
"""What a process may take to end by itself when nothing is left to do."""

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "TQDM_DISABLE": "1",
}
"""Libraries read these when they are loaded. Processes share the cores already; progress is shown by who hands out work."""

# The path first, before anything is imported: the folder that Python puts there may hold modules of any name.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from diffumask_datasets.generation.worker_process import serve; serve(int(sys.argv[1]))"
)


class WorkerProcess:
    """One process and the pipe to it; the process ends when the pipe does, whatever way this process ends.

    ``setup`` is called there once, with ``arguments``; both pickle, and ``setup`` is found by its name.
    """

    def __init__(self, setup: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.connection, theirs = Pipe()
        with theirs, _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *map(str, sys.path)],
                stdin=subprocess.DEVNULL,
                **_inheriting(theirs.fileno()),
                env={**os.environ, **ENVIRONMENT},
            )
        self._first: Any = (setup, arguments)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, task: Any) -> None:
        """Hands it a task; the answers come from ``connection``: any number of REPORT, then DONE or FAILED.

        Raises:
            ConnectionError: it has died.
        """
        if self._first is not None:
            self.connection.send(self._first)
            self._first = None
        self.connection.send(task)

    def terminate(self) -> None:
        """Ends it amid its task."""
        self._process.terminate()

    def join(self, seconds: float | None = SECONDS_TO_END) -> int:
        """Waits until it has ended, which it does by itself once ``connection`` is closed; gives its exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def serve(descriptor: int) -> None:
    """What the process does: tasks, until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, where no mask is inherited
    kind: type[Connection] = getattr(multiprocessing.connection, "PipeConnection", Connection)  # that of Windows
    connection = kind(descriptor)
    work: Callable[..., Any] | None = None
    try:
        with collection_paused():  # what is received imports what it is made of
            setup, arguments = connection.recv()
        while True:
            task = connection.recv()
            try:
                work = work or setup(*arguments)
                answer = (DONE, work(task, lambda value: connection.send((REPORT, value))))
            except DiffuMaskError as error:
                answer = (FAILED, error)
            connection.send(answer)
    except (EOFError, ConnectionError):
        return  # the parent is gone


def _inheriting(descriptor: int) -> dict[str, Any]:
    """How Popen hands down one end of a pipe: a file descriptor, or a handle of Windows."""
    if sys.platform == "win32":
        os.set_handle_inheritable(descriptor, True)
        return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [descriptor]})}
    return {"pass_fds": [descriptor]}


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started within never sees Ctrl-C, not even while it is still loading: the parent decides.

    Windows has no such mask; there a process ignores Ctrl-C once it has loaded.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
