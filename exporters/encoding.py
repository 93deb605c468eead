"""Samples to files, in this process or in several; the results come in the order of the samples."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import NamedTuple

from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import ExportSample
from diffumask_datasets.exporters.journal import Line, line_of
from diffumask_datasets.exporters.protocol import Writer
from diffumask_datasets.exporters.target import put_file

__all__ = ["Encoded", "Encoder", "Item", "encode_all"]

WAITING_PER_WORKER = 4
"""Samples handed out ahead of the one waited for: enough to keep workers busy, few enough to keep memory flat."""


class Item(NamedTuple):
    """A row on its way: its split, its number from 1 over all splits, and its position from 0 in its split."""

    row: Row
    split: str
    ordinal: int
    position: int


class Encoded(NamedTuple):
    """A sample whose files are written: its line for the journal, and what is yet to be appended to shared files."""

    split: str
    line: Line
    appended: dict[str, bytes]


@dataclass(frozen=True)
class Encoder:
    """Writes the files of one sample; what it returns goes into the journal."""

    writer: Writer
    output: Path
    class_count: int

    def __call__(self, item: Item) -> Encoded:
        """Writes the whole files of a sample.

        Raises:
            ExportError: a sample that the format cannot hold, or a file that cannot be written.
        """
        sample = ExportSample.of(**item._asdict(), class_count=self.class_count)
        part = self.writer.write(sample)
        for path, data in part.files.items():
            put_file(self.output, path, data)
        return Encoded(item.split, line_of(sample.sample_id, sample.digest, part), dict(part.appended))


def encode_all(items: Iterator[Item], encoder: Encoder, *, workers: int) -> Generator[Encoded, None, None]:
    """Encodes items in several processes.

    Args:
        items: The items.
        encoder: Encodes one.
        workers: The number of processes.

    Returns:
        What became of each item, in order.

    Raises:
        ExportError: As the encoder, or a worker process that died.
    """
    if workers == 1:
        yield from map(encoder, items)
        return
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(encoder,))
    waiting: deque[Future[Encoded]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(_encode, item))
            if len(waiting) > workers * WAITING_PER_WORKER:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ExportError(
            "a worker process died, perhaps for want of memory; run the same export again with fewer workers: "
            "finished samples are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_encoder: Encoder


def _start_worker(encoder: Encoder) -> None:
    global _encoder
    _encoder = encoder
    # Ctrl-C goes to the whole group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent cannot say so: without this its workers would hold the folder's lock for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _encode(item: Item) -> Encoded:
    return _encoder(item)
