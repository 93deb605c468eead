"""Processes that do tasks, and that may die: a dead one is replaced and its task done again.

A thread for each process hands it one task at a time through a pipe of its own. A lock that all of them shared would stay
locked if its holder were killed; a pipe with one end in each process only ends. It ends too when the parent dies, whatever
way, and a process whose pipe has ended stops.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from diffumask_datasets.errors import DiffuMaskError, WorkerError
from diffumask_datasets.generation.worker_process import DONE, FAILED, WorkerProcess

__all__ = ["Executor", "Inline", "Progress", "Setup", "ThreadPool", "Work", "WorkerPool"]

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
TaskIn = TypeVar("TaskIn", contravariant=True)
Progress = Callable[[Any], None]
Work = Callable[[Task, Progress], Result]
"""Does one task and may report on the way: the one form of all work, wherever it is done."""

Setup = Callable[..., Work[Task, Result]]
"""Gives a :data:`Work`, once for each thread, process or actor, from arguments that pickle; found there by its name."""

MAX_DEATHS = 3
"""In a row, without a report between them: the task itself kills its process."""


class Executor(Protocol[TaskIn, Result]):
    """Does tasks here, in other threads or in other processes. Whichever it is, the work is a :data:`Work`."""

    def submit(self, task: TaskIn, report: Progress = ..., /) -> Future[Result]:
        """Begins a task; ``report`` is called with what it reports.

        The future raises the :class:`DiffuMaskError` that the task raised.
        """

    def close(self) -> None:
        """Waits for what must not be lost, and ends the rest."""


class Inline(Generic[Task, Result]):
    """An executor that does each task here and now."""

    def __init__(self, setup: Setup[Task, Result], arguments: tuple[Any, ...]) -> None:
        self._work = setup(*arguments)

    def submit(self, task: Task, report: Progress = lambda _: None, /) -> Future[Result]:
        """The task, done already."""
        future: Future[Result] = Future()
        try:
            future.set_result(self._work(task, report))
        except DiffuMaskError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is left to do."""


class ThreadPool(Generic[Task, Result]):
    """An executor of a few threads of this process, for tasks that mostly wait."""

    def __init__(self, setup: Setup[Task, Result], arguments: tuple[Any, ...], *, threads: int) -> None:
        self._work = setup(*arguments)
        self._threads = ThreadPoolExecutor(threads)

    def submit(self, task: Task, report: Progress = lambda _: None, /) -> Future[Result]:
        """Does a task in the next free thread."""
        return self._threads.submit(self._work, task, report)

    def close(self) -> None:
        """Waits for all tasks."""
        self._threads.shutdown()


class WorkerPool(Generic[Task, Result]):
    """An executor with one process for each of ``arguments``; each calls ``setup(*arguments)`` once.

    All that is sent must pickle, and be importable by name: the processes import nothing of the script that runs. They start
    when their first task comes. Close it, or use it as a context.
    """

    def __init__(self, setup: Setup[Task, Result], arguments: Sequence[tuple[Any, ...]]) -> None:
        self._workers = [_Worker(setup, given) for given in arguments]
        self._threads = ThreadPoolExecutor(len(self._workers))
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def submit(self, task: Task, report: Progress = lambda _: None, /) -> Future[Result]:
        """Does a task in the next free process; ``report`` is called in a thread with what it reports.

        The future raises the :class:`DiffuMaskError` that the task raised, or WorkerError where its process died again and
        again.
        """
        return self._threads.submit(self._do, task, report)

    def close(self) -> None:
        """Ends the processes, also amid a task."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> WorkerPool[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, task: Task, report: Progress) -> Any:
        worker = self._idle.get()
        try:
            return worker.do(task, report)
        finally:
            self._idle.put(worker)


class _Worker:
    def __init__(self, setup: Setup[Any, Any], arguments: tuple[Any, ...]) -> None:
        self._setup, self._arguments = setup, arguments
        self._process: WorkerProcess | None = None
        self._closed = self._busy = False
        self._starting = threading.Lock()

    def do(self, task: Any, report: Progress) -> Any:
        try:
            return self._do(task, report)
        finally:
            with self._starting:
                self._busy = False

    def _do(self, task: Any, report: Progress) -> Any:
        deaths = 0
        while True:
            process = self._started()
            try:
                process.send(task)
                while True:
                    kind, value = process.connection.recv()
                    if kind == DONE:
                        return value
                    if kind == FAILED:
                        raise value
                    deaths = 0
                    report(value)
            except (EOFError, ConnectionError):
                deaths += 1
                self._handle_crash(process, deaths)

    def stop(self) -> None:
        with self._starting:
            self._closed = True
            if self._process is None:
                return
            if self._busy:
                self._process.terminate()
            else:
                # It ends by itself, and so gives back the semaphores that libraries took.
                self._process.connection.close()

    def join(self) -> None:
        if self._process is not None:
            self._process.join()

    def _started(self) -> WorkerProcess:
        with self._starting:
            if self._closed:
                raise WorkerError("the workers were stopped")
            self._busy = True
            if self._process is None:
                self._process = WorkerProcess(self._setup, self._arguments)
            return self._process

    def _handle_crash(self, process: WorkerProcess, deaths: int) -> None:
        process.connection.close()
        code = process.join()
        with self._starting:
            if self._closed:
                raise WorkerError("the workers were stopped")
            self._process = None
        if deaths == MAX_DEATHS:
            raise WorkerError(
                f"a worker died {deaths} times at the same place (exit code {code}; -9 is often a lack of "
                "memory): take fewer workers or a smaller --batch-size; finished samples are kept"
            )
        logger.warning("worker %s died (exit code %s); another takes its place", process.pid, code)
