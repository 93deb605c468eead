import errno
import hashlib
import logging
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import StoreError
from diffumask_datasets.generation.store import STALE_SECONDS, SampleStore, default_store_root
from tests.helpers.waiting import wait_until


def entry(root: Path, index: int) -> Path:
    (path,) = root.rglob(f"{index:08d}.sample")
    return path


def test_what_is_put_is_got(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "abc")
    assert store.get(7) is None
    store.put(7, b"seven")
    assert store.get(7) == b"seven"
    assert SampleStore(tmp_path, "abc").get(7) == b"seven"
    assert SampleStore(tmp_path, "other").get(7) is None
    assert entry(tmp_path, 7) == tmp_path / "abc" / "00000" / "00000007.sample"


def test_entries_of_long_indices_are_known_by_their_names(tmp_path: Path) -> None:
    """Those of labelled images have up to seventeen digits."""
    store = SampleStore(tmp_path, "abc")
    store.put(12_345_678_901_234_567, b"far")
    assert store.present(12_345_678_901_234_567, 12_345_678_901_234_568) == {12_345_678_901_234_567}
    assert store.present(12_345_678_901_234_568, 12_345_678_901_234_569) == set()


@given(entries=st.dictionaries(st.integers(0, 10**8 - 1), st.binary(max_size=200), max_size=20))
def test_a_store_is_a_dict_on_disk(tmp_path_factory: pytest.TempPathFactory, entries: dict[int, bytes]) -> None:
    root = tmp_path_factory.mktemp("store")
    for index, payload in entries.items():
        SampleStore(root, "abc").put(index, payload)
    assert {index: SampleStore(root, "abc").get(index) for index in entries} == entries


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-3], lambda whole: whole[:40] + b"?" + whole[41:], lambda _: b""]
)
def test_a_damaged_entry_is_noticed_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage) -> None:
    store = SampleStore(tmp_path, "abc")
    store.put(7, b"x" * 100)
    path = entry(tmp_path, 7)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert store.get(7) is None
    assert f"store entry {path} is damaged or another sample's; it will be generated again" in caplog.text
    store.put(7, b"x" * 100)
    assert store.get(7) == b"x" * 100


def copy_to(source: Path, target: Path, index: int, *, name: int) -> None:
    """The file of one entry under the name of another, as a wrong copy or a restored backup leaves it."""
    there = target / "00000" / f"{name:08d}.sample"
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes((source / "00000" / f"{index:08d}.sample").read_bytes())


def test_an_entry_of_another_sample_or_recipe_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, other = SampleStore(tmp_path, "abc"), SampleStore(tmp_path, "other")
    store.put(7, b"seven")
    copy_to(tmp_path / "abc", tmp_path / "abc", 7, name=8)
    copy_to(tmp_path / "abc", tmp_path / "other", 7, name=7)
    with caplog.at_level(logging.WARNING):
        assert (store.get(7), store.get(8), other.get(7)) == (b"seven", None, None)
    assert [record.message.partition(" is ")[2] for record in caplog.records] == [
        "damaged or another sample's; it will be generated again"
    ] * 2


def test_an_entry_whose_seal_does_not_name_its_sample_is_not_taken(tmp_path: Path) -> None:
    """As versions before ALGORITHM 5 wrote them."""
    store = SampleStore(tmp_path, "abc")
    store.put(7, b"seven")
    assert entry(tmp_path, 7).read_bytes()[32:] == b"seven"
    entry(tmp_path, 7).write_bytes(hashlib.sha256(b"seven").digest() + b"seven")
    assert store.get(7) is None


def test_a_store_is_not_made_before_it_is_written(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "store", "abc")
    assert (store.get(7), store.present(0, 1000)) == (None, set())
    assert not (tmp_path / "store").exists()
    store.check_writable()
    assert (tmp_path / "store" / "abc").is_dir()


def test_an_entry_that_cannot_be_read(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "abc")
    path = tmp_path / "abc" / "00000" / "00000007.sample"
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=f"cannot read {path}: Is a directory; check its permissions and the disk"):
        store.get(7)


def test_a_disk_that_has_become_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SampleStore(tmp_path, "abc")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # A read-only disk refuses to remove even what is not there.
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match="Read-only file system; free space or set DIFFUMASK_CACHE"):
        store.put(7, b"seven")


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write the sample store at .*; free space or set DIFFUMASK_CACHE"):
        SampleStore(tmp_path / "file", "abc").check_writable()


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from diffumask_datasets.errors import StoreError
from diffumask_datasets.generation.store import SampleStore
store = SampleStore(Path(sys.argv[1]), "abc")
store.put(1, b"small")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the kernel's own "no space", without a disk to fill
try:
    store.put(2, b"x" * 5000)
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "File too large; free space or set DIFFUMASK_CACHE" in done.stdout
    store = SampleStore(tmp_path, "abc")
    assert (store.get(1), store.get(2)) == (b"small", None)
    assert list((tmp_path / "abc" / "drafts").iterdir()) == []


def _write_for_ever(root: str) -> None:
    store = SampleStore(Path(root), "abc")
    for index in range(10**6):
        store.put(index % 50, bytes([index % 50]) * 20_000)


def test_sigkill_and_two_writers_leave_whole_entries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(str(tmp_path),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        wait_until(lambda: list(tmp_path.rglob("00000030.sample")), "entry 30 is written")
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    store = SampleStore(tmp_path, "abc")
    present = [index for index in range(50) if (tmp_path / "abc" / "00000" / f"{index:08d}.sample").exists()]
    assert len(present) > 30
    assert all(store.get(index) == bytes([index]) * 20_000 for index in present)


def test_drafts_of_killed_processes_are_swept(tmp_path: Path) -> None:
    SampleStore(tmp_path, "abc").check_writable()
    old, young = tmp_path / "abc" / "drafts" / "old", tmp_path / "abc" / "drafts" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - STALE_SECONDS - 60,) * 2)
    SampleStore(tmp_path, "abc").check_writable()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_draft_that_is_finished_during_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "finished"]))
    store = SampleStore(tmp_path, "abc")
    store.check_writable()
    store.put(0, b"x")
    assert store.get(0) == b"x"


def test_the_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUMASK_CACHE", "/data/store")
    assert default_store_root() == Path("/data/store")
    monkeypatch.delenv("DIFFUMASK_CACHE")
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert default_store_root() == Path("/data/hf/diffumask")


def test_lookups_are_fast_enough_to_ask_always(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "abc")
    for index in range(200):
        store.put(index, b"x" * 50_000)
    started = time.process_time()
    assert all(store.get(index) for index in range(200))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime > 0
    assert time.process_time() - started < 1.0
