"""Waiting for what another process does: a test whose condition never comes true fails, and says what it waited for."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 120) -> None:
    """Returns once ``condition()`` is true; AssertionError where it is not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} seconds in vain: {what}"
        time.sleep(0.02)
