"""Running out of memory, on the CPU as on a GPU: how it is told from other errors, and the one line it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffumask_datasets.errors import DiffuMaskError

__all__ = ["is_out_of_memory", "names_the_knob"]

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""What torch says, on a GPU, on the CPU and in the libraries of a GPU; each comes as a plain RuntimeError too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or torch says that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


@contextmanager
def names_the_knob(error: type[DiffuMaskError], advice: Callable[[], str]) -> Iterator[None]:
    """Within the block, running out of memory raises ``error``: "out of memory" and the ``advice``."""
    try:
        yield
    except (MemoryError, RuntimeError) as found:
        if is_out_of_memory(found):
            raise error(f"out of memory {advice()}") from found
        raise
