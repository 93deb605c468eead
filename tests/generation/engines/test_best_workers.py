import logging
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.generation.engines import best_workers as module
from diffumask_datasets.generation.engines.best_workers import best_workers, cores, free_memory
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.recipe import Recipe

GB = 10**9


@pytest.fixture(scope="module")
def toybox() -> Recipe:
    return prepare(Recipe.of(classes=["car"]))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, 100 GB, no GPU."""
    set_machine(monkeypatch)


def set_machine(monkeypatch: pytest.MonkeyPatch, *, own_cores: int = 8, free: float = 100, gpus: int = 0) -> None:
    monkeypatch.setattr(module, "cores", lambda: own_cores)
    monkeypatch.setattr(module, "free_memory", lambda: int(free * GB))
    monkeypatch.setattr(module, "gpu_count", lambda: gpus)


def workers(recipe: Recipe, samples: int = 100, tasks: int | None = None, **given: Any) -> int:
    how: dict[str, Any] = {"device": None, "dtype": None, **given}
    return best_workers(recipe, samples=samples, tasks=tasks or samples, **how)


def test_cores_batches_and_gpus_bound_the_number(
    toybox: Recipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert workers(toybox) == 8
    assert caplog.messages == ["100 samples are made by 8 processes, on 8 cores; workers=1 takes one"]
    assert workers(toybox, samples=12, tasks=3) == 3
    set_machine(monkeypatch, own_cores=1)
    assert workers(toybox) == 1
    set_machine(monkeypatch, gpus=4)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert workers(toybox) == 4
    assert "4 processes, each on a GPU of its own (4 here)" in caplog.text
    assert workers(toybox, device="cuda:1") == 1
    assert workers(toybox, device="cpu") == 8


def test_a_few_samples_are_made_here(
    toybox: Recipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process takes four seconds to start; a sample of the toybox takes 2.4 of 20 steps, 0.6 of 4."""
    slow, quick = (toybox.model_copy(update={"num_inference_steps": steps}) for steps in (20, 4))
    assert [workers(slow, samples=number) for number in (0, 1, 2, 3, 4)] == [1, 1, 1, 3, 4]
    assert [workers(quick, samples=number) for number in (4, 6, 8, 16)] == [1, 1, 8, 8]
    assert workers(slow, samples=64, tasks=1) == 1
    assert workers(slow, samples=9) == 5  # eight would not end before: one of them makes two
    set_machine(monkeypatch, own_cores=2)
    assert [workers(slow, samples=number) for number in (2, 3, 4, 16)] == [1, 1, 2, 2]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert [workers(quick, samples=number) for number in (8, 13, 14, 16)] == [1, 1, 2, 2]
    assert caplog.messages[0] == "8 samples are made by one process: others would take longer to start than they save"
    assert workers(quick.model_copy(update={"height": 256}), samples=8) == 2
    # Without guidance half as many steps count.
    assert [workers(slow, samples=6, steps=steps) for steps in (20, 4.5)] == [2, 1]


def test_memory_for_the_model_bounds_the_number(toybox: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    # A process takes 0.8 GB and 1.5 times its weights: 12 million parameters, then a billion of four and of two bytes.
    set_machine(monkeypatch, free=3)
    assert workers(toybox) == 3
    monkeypatch.setattr(module, "parameter_count", lambda *_, **__: GB)
    set_machine(monkeypatch, free=21)
    assert workers(toybox) == 3
    assert workers(toybox, dtype="bfloat16") == 5
    set_machine(monkeypatch, free=1)
    assert workers(toybox) == 1
    set_machine(monkeypatch)
    monkeypatch.setattr(module, "parameter_count", lambda *_, **__: None)
    assert workers(toybox) == 1


def test_a_family_of_this_process_and_the_fake_model_stay_here(
    toybox: Recipe, planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workers(prepare(Recipe.of(**planted))) == 1
    monkeypatch.setattr(module, "is_registered_here", lambda *_: True)
    assert workers(toybox) == 1


def _count_in_child(recipe: Recipe, answers: Any) -> None:
    answers.put(workers(recipe))


@pytest.mark.parametrize("library", ["multiprocessing", "multiprocess"])
def test_processes_never_multiply(toybox: Recipe, library: str) -> None:
    """Those that num_proc starts are of multiprocess, a data loader's are of multiprocessing."""
    context = pytest.importorskip(library).get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_count_in_child, args=(toybox, answers))
    child.start()
    found = answers.get()
    child.join()
    assert found == 1
    assert multiprocessing.parent_process() is not None or workers(toybox) == 8


def test_the_limits_of_a_container_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    whole_cores, whole_memory = cores(), free_memory()
    assert whole_cores >= 1
    assert whole_memory > GB // 10
    monkeypatch.setattr(module, "_GROUP", tmp_path)
    limits = {"cpu.max": "100000 100000\n", "memory.max": "300000000\n", "memory.current": "120000000\n"}
    for name, text in {**limits, "memory.stat": "anon 100000000\ninactive_file 20000000\n"}.items():
        (tmp_path / name).write_text(text)
    assert (cores(), free_memory()) == (1, 200_000_000)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert cores() >= whole_cores
    assert free_memory() > 200_000_000
