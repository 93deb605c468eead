import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets import generate
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation.engines import devices
from diffumask_datasets.generation.engines.devices import devices_of, gpu_count
from diffumask_datasets.generation.engines.local import fill, fill_at_best, runs_of
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import SplitPlan
from tests.dataset.test_shards import files
from tests.helpers.small_models import SMALL_IMAGE_TEXT
from tests.helpers.waiting import wait_until


@given(
    sizes=st.fixed_dictionaries({"train": st.integers(1, 300), "test": st.integers(1, 40)}),
    workers=st.integers(1, 9),
    batch_size=st.integers(1, 7),
    skip=st.sets(st.integers(0, 40), max_size=6),
)
def test_runs_are_the_shards_in_order(sizes: dict[str, int], workers: int, batch_size: int, skip: set[int]) -> None:
    plan = SplitPlan.of(splits=sizes, skip=sorted(skip))
    shards = [shard for _, cut in plan.shards() for shard in cut]
    runs = runs_of(shards, workers=workers, batch_size=batch_size)
    assert [k for run in runs for k in range(*run)] == [k for shard in shards for k in range(*shard)]
    inner = {stop for _, stop in runs} - {stop for _, stop in shards}
    assert all(stop % batch_size == 0 for stop in inner)


def test_runs_become_shorter_so_that_workers_end_together() -> None:
    runs = runs_of([(0, 25)], workers=2, batch_size=1)
    assert [stop - start for start, stop in runs] == [6, 4, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]


def test_two_workers_write_what_one_writes(planted: dict[str, Any], tmp_path: Path, generated: Any) -> None:
    fields = {**planted, "splits": {"train": 9, "validation": 3}, "batch_size": 2}
    # Mask workers ask an image-text model, and some samples are generated again.
    fields |= {"presence": str(SMALL_IMAGE_TEXT), "max_attempts": 2}
    generate(tmp_path / "one", store=tmp_path / "store 1", **fields)
    before = generated()
    assert before > 12
    generate(tmp_path / "two", store=tmp_path / "store 2", workers=2, mask_workers=1, **fields)
    assert generated() == before
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert files(tmp_path / "store 2") == files(tmp_path / "store 1")


def test_refiners_keep_order_and_bytes_and_generate_ahead(
    planted: dict[str, Any], tmp_path: Path, generated: Any
) -> None:
    # Poor samples are generated again, so that attempts cross each other.
    recipe = prepare(Recipe.of(**{**planted, "min_area": 0.3, "max_attempts": 4}))
    plain = GeneratedSamples(recipe, Runtime(batch_size=3, store=tmp_path / "plain"))
    straight = list(plain.rows(0, 20))
    before = generated()
    with GeneratedSamples(recipe, Runtime(batch_size=3, store=tmp_path / "ahead", mask_workers=2)) as generator:
        rows = generator.rows(0, 20)
        overlapped = [next(rows)]
        assert 3 < generated() - before < 60
        overlapped += rows
    assert overlapped == straight
    assert generator.rejected == plain.rejected
    assert files(tmp_path / "ahead") == files(tmp_path / "plain")


def test_a_killed_worker_is_replaced_and_nothing_is_counted_twice(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = prepare(Recipe.of(**planted))
    generate(tmp_path / "undisturbed", num_samples=24, store=tmp_path / "other", **planted)
    monkeypatch.setenv("DIFFUMASK_PLANTED_SECONDS", "0.05")
    made: list[int] = []
    killed = threading.Event()

    def note(one: Made) -> None:
        made.append(one.index)
        if len(made) >= 5 and not killed.is_set():
            killed.set()
            os.kill(children()[0], signal.SIGKILL)

    fill(recipe, Runtime(store=tmp_path / "store"), [(0, 24)], workers=2, made=note)
    assert sorted(made) == list(range(24))
    assert "another takes its place" in caplog.text
    generate(tmp_path / "ds", num_samples=24, store=tmp_path / "store", **planted)
    assert files(tmp_path / "ds") == files(tmp_path / "undisturbed")


def children() -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and parent_of(entry) == os.getpid() and b"worker_process" in command_of(entry)
    ]


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def command_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_errors_of_a_worker_are_errors_of_the_run(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = prepare(Recipe.of(**planted))
    seed = next(GeneratedSamples(recipe).rows(3, 4))[1]["seed"]
    monkeypatch.setenv("DIFFUMASK_PLANTED_BROKEN", str(seed))
    with pytest.raises(ModelError, match="NaN"):
        generate(tmp_path / "ds", num_samples=8, workers=2, store=tmp_path / "fresh", **planted)
    assert not (tmp_path / "ds").exists()


def test_a_family_of_this_process_alone_is_refused(planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffumask_datasets.generation.engines.local.is_registered_here", lambda *_: True)
    with pytest.raises(RecipeError, match="is registered in this process alone; offer it by an entry point"):
        fill(prepare(Recipe.of(**planted)), Runtime(), [(0, 4)], workers=2, made=print)


def test_what_the_store_has_is_no_work(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, runtime = prepare(Recipe.of(**planted)), Runtime(batch_size=2, store=tmp_path / "store")
    assert [one.index for one in GeneratedSamples(recipe, runtime).fill(0, 5)] == [0, 1, 2, 3, 4]
    asked: list[tuple[int, int]] = []

    def one(_: Recipe, *, samples: int, tasks: int, **how: object) -> int:
        asked.append((samples, tasks))
        return 1

    monkeypatch.setattr("diffumask_datasets.generation.engines.local.best_workers", one)
    assert fill_at_best(recipe, runtime, [(0, 8), (20, 21)], made=print) is None
    assert asked == [(4, 3)]


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("mask_workers", -1)])
def test_numbers_that_make_no_sense(planted: dict[str, Any], tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(RecipeError, match=rf"{name}: expected a number from [01] up, got {value}"):
        generate(tmp_path / "ds", num_samples=2, **{name: value}, **planted)


def test_gpus_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffumask_datasets.generation.engines.devices.gpu_count", lambda: 2)
    assert devices_of(None, 3) == devices_of("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices_of("cuda:1", 2) == ["cuda:1", "cuda:1"]
    assert devices_of("cpu", 2) == ["cpu", "cpu"]


def test_torch_is_asked_for_gpus_where_a_driver_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr(devices, "DRIVER_FILES", (str(tmp_path / "none"),))
    monkeypatch.setattr("sys.platform", "linux")
    assert gpu_count() == 0
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(devices, "DRIVER_FILES", (str(tmp_path / "none"), str(tmp_path / "nvidiactl")))
    assert gpu_count() == 3


@pytest.mark.usefixtures("heeds_interrupts")
def test_ctrl_c_stops_every_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "diffumask_datasets", "generate", "car", "--num-samples", "500", "--output", "ds"]
    options = ["--model", "planted", "--set", "height=48", "--set", "width=64", "--workers", "2"]
    environment = {**os.environ, "DIFFUMASK_PLANTED_SECONDS": "0.2"}
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment, start_new_session=True
    )
    wait_until(lambda: list(tmp_path.rglob("*.sample")) or process.poll() is not None, "the first sample is stored")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; finished samples are kept" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "rays"}, r"unknown engine 'rays' \(did you mean 'ray'\?\); legal: local, ray"),
        ({"address": "auto"}, "address 'auto': only engine='ray' has one"),
    ],
)
def test_options_that_make_no_sense(
    planted: dict[str, Any], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        generate(tmp_path / "ds", num_samples=2, **options, **planted)
