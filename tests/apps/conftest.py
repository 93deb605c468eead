"""A MongoDB of this run alone: the one that FiftyOne ships, or the one that FIFTYONE_DATABASE_URI names."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_SECONDS = 240


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running database."""
    if "FIFTYONE_DATABASE_URI" in os.environ:
        yield os.environ["FIFTYONE_DATABASE_URI"]
        return
    found = importlib.util.find_spec("fiftyone")
    assert found is not None, "FiftyOne is not installed: make test-apps"
    mongod = Path(next(iter(found.submodule_search_locations or [])), "db", "bin", "mongod")
    port = _free_port()
    folder = tmp_path_factory.mktemp("mongodb")
    command = [str(mongod), "--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1"]
    with _running([*command, "--logpath", str(folder / "log.txt")], port):
        yield f"mongodb://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def fiftyone_home(mongodb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FiftyOne reads its configuration when it is imported: this comes before."""
    home = tmp_path_factory.mktemp("fiftyone")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FIFTYONE_DATABASE_URI", mongodb)
        patched.setenv("FIFTYONE_DATABASE_NAME", f"diffumask-tests-{os.getpid()}")
        patched.setenv("FIFTYONE_DEFAULT_DATASET_DIR", str(home / "datasets"))
        patched.setenv("FIFTYONE_PLUGINS_DIR", str(home / "plugins"))
        patched.setenv("FIFTYONE_DO_NOT_TRACK", "true")
        yield home


@pytest.fixture(scope="session")
def app_port(fiftyone_home: Path) -> Iterator[int]:
    """The port of FiftyOne's server, which launch() finds running: by itself it would wait a minute and no longer."""
    port = _free_port()
    with _running([sys.executable, "-m", "fiftyone.server.main", "--port", str(port), "--address", "localhost"], port):
        yield port


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not start; mongod needs libssl1.1 on systems without OpenSSL 1.1")
