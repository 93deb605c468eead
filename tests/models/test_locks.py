"""Locks that a fork in another thread neither leaves locked nor waits on for ever."""

import subprocess
import sys

from diffumask_datasets.models import locks

LOCK = f"""
import runpy
model_lock = runpy.run_path({locks.__file__!r})["model_lock"]
import concurrent.futures, logging, os, threading, time
"""
"""The lock without its package, whose imports would hide which handlers for forks are registered before its own."""

WAITING = """
logger = logging.getLogger("busy")
held, state = threading.Event(), []

def work():
    with model_lock:
        state.append("begun")
        held.set()
        time.sleep(0.2)
        # A fork takes the locks of these, too.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(logger.warning, "busy").result()
        state.append("ended")

def is_free():
    def take():
        with model_lock:
            pass
    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()

threading.Thread(target=work).start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(0 if state == ["begun", "ended"] and is_free() else 1)
print(os.waitpid(child, 0)[1], state, is_free())
"""

WITHIN = """
@model_lock
def nested():
    with model_lock:
        child = os.fork()
    if child == 0:
        with model_lock:
            return "child"
    return "child" if os.waitpid(child, 0)[1] else "parent"

who = nested()
with model_lock:
    print(who, flush=True)
"""


def output_of(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", LOCK + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_fork_waits_until_the_lock_is_free() -> None:
    assert output_of(WAITING) == "0 ['begun', 'ended'] True\n"


def test_a_fork_by_the_thread_that_holds_it() -> None:
    assert output_of(WITHIN) == "child\nparent\n"
