"""One CPU thread within the block, whoever is within; the number from before afterwards."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from diffumask_datasets.models.determinism import single_thread


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread(ask: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(ask).result()


def test_blocks_within_blocks() -> None:
    with single_thread():
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_threads_that_come_and_go_while_others_are_within() -> None:
    """The first comes before the second and leaves before it: what the second found, 1, must not stay."""
    inside, first_is_gone = threading.Barrier(2), threading.Event()

    def first() -> None:
        with single_thread():
            inside.wait(10)
        first_is_gone.set()

    def second() -> tuple[int, int]:
        with single_thread():
            inside.wait(10)
            first_is_gone.wait(10)
            within = torch.get_num_threads()
        return within, torch.get_num_threads()

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(first)
        # It has torch's number from while the first is within.
        other = threads.submit(second)
        one.result()
        assert other.result() == (1, 3)
    assert torch.get_num_threads() == 3
    assert in_a_new_thread(torch.get_num_threads) == 3


def test_a_process_that_is_forked_while_another_thread_is_within() -> None:
    """A loader's process computes on one thread by its own choice, and must not get the three that its parent had."""
    inside, is_forked = threading.Event(), threading.Event()

    def hold() -> None:
        with single_thread():
            inside.set()
            is_forked.wait(10)

    def number_after_a_block() -> int:
        torch.set_num_threads(1)
        with single_thread():
            pass
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        inside.wait(10)
        child = os.fork()
        if child == 0:
            os._exit(100 + number_after_a_block())
        is_forked.set()
        holding.result()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 101
