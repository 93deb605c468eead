"""Running out of memory, on the CPU as on a GPU, becomes one line that names the knob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffumask_datasets.errors import TrainingError

__all__ = ["names_the_knob"]

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""What torch says, on a GPU, on the CPU and in the libraries of a GPU; each comes as a plain RuntimeError too."""


@contextmanager
def names_the_knob(advice: Callable[[], str]) -> Iterator[None]:
    """Within the block, running out of memory raises TrainingError: "out of memory" and the ``advice``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS):
            raise TrainingError(f"out of memory {advice()}") from error
        raise
