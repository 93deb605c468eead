"""The progress line of ``diffumask generate``: images per second, time left, mean quality, attempts made again."""

from __future__ import annotations

import threading
from types import TracebackType

from tqdm import tqdm

from diffumask_datasets.generation.samples import GeneratedSamples, Made

__all__ = ["GenerationProgress"]


class GenerationProgress:
    """A line that is rewritten in a terminal, and nothing elsewhere; its methods may be called from any thread.

    Rate and time left are those of the images generated in this run: samples that the store had already count as done
    from the start, as a run that goes on would otherwise promise to end at once.
    """

    def __init__(self, total: int) -> None:
        # Without smoothing the rate is the mean of the run; batches and workers end in bursts.
        self._bar = tqdm(total=total, unit="image", smoothing=0, disable=None)
        self._lock = threading.Lock()
        self._quality_sum, self._judged = 0.0, 0
        self._found = self._rejected = 0

    def __enter__(self) -> GenerationProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the line; what is reported afterwards is not shown."""
        with self._lock:
            self._bar.close()

    def made(self, one: Made) -> None:
        """Counts a sample that another process made, or found in the store."""
        with self._lock:
            self._found += one.quality is None
            self._rejected += one.rejected
            self._count(one.quality)

    def read(self, quality: float, samples: GeneratedSamples) -> None:
        """Counts a row that ``samples`` gave."""
        with self._lock:
            self._found, self._rejected = samples.found, samples.rejected.total()
            self._count(quality)

    def _count(self, quality: float | None) -> None:
        if self._bar.disable:
            return
        if quality is not None:
            self._quality_sum, self._judged = self._quality_sum + quality, self._judged + 1
        # Augmented samples are made of others, of which more may be found than are shown.
        self._bar.initial = min(self._found, self._bar.n + 1)
        self._bar.set_postfix_str(self._told(), refresh=False)
        self._bar.update()

    def _told(self) -> str:
        quality = [f"mean quality {self._quality_sum / self._judged:.2f}"] if self._judged else []
        return ", ".join([*quality, *([f"{self._rejected} generated again"] if self._rejected else [])])
