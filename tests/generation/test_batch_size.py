"""The batch size of a GPU: found by running out of memory, kept within what is asked for, and remembered."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from diffumask_datasets import generate, reproduce
from diffumask_datasets.cli.app import app
from diffumask_datasets.dataset.decisions import Decision
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.fake_model import FakeModel
from diffumask_datasets.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from diffumask_datasets.errors import ModelError, WorkerError
from diffumask_datasets.generation import batch_memory, batch_size, sample_generator
from diffumask_datasets.generation.batch_memory import largest_batch, measure
from diffumask_datasets.generation.batch_size import best_batch_size
from diffumask_datasets.generation.config import DiffuMaskConfig
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.review import apply_decisions
from tests.helpers.tiny_models.models import built

OUT = "CUDA out of memory. Tried to allocate 1.00 GiB"


@pytest.fixture(scope="module")
def toybox() -> Recipe:
    return prepare(Recipe.of(classes=["car"]))


def test_the_largest_power_of_two_that_does_not_run_out() -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > 5:
            raise torch.OutOfMemoryError(OUT)

    assert largest_batch(attempt) == 4
    assert tried == [2, 4, 8]
    assert largest_batch(lambda size: None) == 64
    assert largest_batch(lambda size: None, most=12) == 8

    def none(size: int) -> None:
        raise MemoryError

    assert largest_batch(none) == 1


def test_another_error_is_no_lack_of_memory() -> None:
    def attempt(size: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        largest_batch(attempt)


@pytest.fixture
def small_gpu(monkeypatch: pytest.MonkeyPatch) -> DiffusersModel:
    """A random Stable Diffusion on a device that holds five images, each with and without guidance."""
    model = DiffusersModel(built("sd1"), STABLE_DIFFUSION)

    def limit(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(args[0]) > 2 * 5:
            raise torch.OutOfMemoryError(OUT)

    model.denoiser.register_forward_pre_hook(limit, with_kwargs=True)
    monkeypatch.setattr(batch_memory, "load_recipe_model", lambda *_: model)
    monkeypatch.setattr(batch_memory, "_name", lambda device: "cpu")
    monkeypatch.setattr(batch_memory, "_at_most", lambda *_: nullcontext())
    return model


@pytest.mark.parametrize(("free", "is_alone"), [(80, True), (60, False)])
def test_a_pipeline_is_measured_in_few_steps(
    small_gpu: DiffusersModel, monkeypatch: pytest.MonkeyPatch, free: int, is_alone: bool
) -> None:
    monkeypatch.setattr(batch_memory, "_memory", lambda place: (free, 80))
    fields = {"model": "planted", "height": 64, "width": 64, "guidance_scale": 4.0, "attention_grids": [4]}
    recipe = Recipe.of(classes=["car"], num_inference_steps=50, attention_timesteps=[0, 10], **fields)
    calls: list[int] = []
    small_gpu.denoiser.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    assert measure(recipe, None, None)(None, print) == (4, is_alone)
    assert calls == [4, 4, 8, 8]  # two steps of two images, two of four; eight images ran out


def test_memory_that_runs_out_later_is_one_line(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> Any:
        raise torch.OutOfMemoryError(OUT)

    monkeypatch.setattr(FakeModel, "generate", greedy)
    recipe = prepare(Recipe.of(**planted))
    message = "out of memory generating 8 images of 48x64 at once: take --batch-size 4; finished samples are kept"
    with pytest.raises(ModelError, match=message):
        list(GeneratedSamples(recipe, Runtime(8, store=tmp_path)).rows(0, 1))
    with pytest.raises(ModelError, match="1 images of 48x64 at once: take a smaller size, or a dtype of two bytes"):
        list(GeneratedSamples(recipe, Runtime(1, store=tmp_path)).rows(0, 1))


class Gpus:
    """Eight of one kind on which ``size`` images fit; counts how often they were measured."""

    def __init__(self) -> None:
        self.size, self.is_alone, self.measured = 16, True, 0

    def measure(self, recipe: Recipe, device: str | None, dtype: str | None) -> tuple[int, bool]:
        self.measured += 1
        return self.size, self.is_alone


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    found = Gpus()
    monkeypatch.setattr(batch_size, "gpu_count", lambda: 8)
    monkeypatch.setattr(batch_size, "gpu_names", lambda: ["NVIDIA H200, 143771 MiB", "all"])
    monkeypatch.setattr(batch_size, "_measured", found.measure)
    return found


def best(recipe: Recipe, samples: int | None = None, device: str | None = None, dtype: str | None = None) -> int:
    return best_batch_size(recipe, device=device, dtype=dtype, samples=samples)


def test_it_is_measured_once_and_remembered(gpus: Gpus, toybox: Recipe, own_store: Path) -> None:
    assert (best(toybox), gpus.measured) == (16, 1)
    gpus.size = 4
    assert (best(toybox), gpus.measured) == (16, 1)
    assert best(toybox.model_copy(update={"num_inference_steps": 7, "seed": 3})) == 16  # memory does not depend on them
    (file,) = (own_store / "batch-sizes").iterdir()
    written = json.loads(file.read_text())
    assert (written["batch_size"], written["height"], written["model"]) == (16, toybox.height, toybox.revision)
    assert written["gpus"] == ["NVIDIA H200, 143771 MiB", "all"]
    # Another size, dtype, kind of model or GPU is another measurement.
    for other in ({"height": 256}, {"affinity": None}, {"guidance_scale": 1.0}, {"revision": "other"}):
        assert best(toybox.model_copy(update=other)) == 4
    assert best(toybox, dtype="float16") == best(toybox, device="cuda:3") == 4
    assert gpus.measured == 7
    file.write_text('{"batch_size": 1000000}')
    assert (best(toybox), gpus.measured) == (4, 8)


def test_what_was_measured_beside_others_is_not_remembered(gpus: Gpus, toybox: Recipe, own_store: Path) -> None:
    gpus.is_alone = False
    assert [best(toybox), best(toybox), gpus.measured] == [16, 16, 2]
    assert not (own_store / "batch-sizes").exists()


def test_no_batch_is_larger_than_the_share_of_a_gpu(
    gpus: Gpus, toybox: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert [best(toybox, samples) for samples in (1000, 128, 64, 9, 3)] == [16, 16, 8, 2, 1]
    assert caplog.messages[0] == f"measuring how many images of {toybox.height}x{toybox.width} fit on the GPU at once"
    assert caplog.messages[1] == "images are generated in batches of 16; batch_size=… takes another number"
    assert best(toybox, 64, device="cuda:1") == 16
    assert [best(toybox, device="cpu"), best(prepare(Recipe.of(classes=["car"], model="planted")))] == [1, 1]


def test_what_cannot_be_measured_is_generated_one_at_a_time(
    gpus: Gpus, toybox: Recipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> tuple[int, bool]:
        raise WorkerError("a worker died 3 times")

    monkeypatch.setattr(batch_size, "_measured", broken)
    assert best(toybox) == 1
    assert "could not be measured (a worker died 3 times): images are generated one at a time" in caplog.text


@pytest.fixture
def four_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A GPU on which four images fit; gives the sizes of the batches that are generated."""
    monkeypatch.setattr("diffumask_datasets.generation.config.best_batch_size", lambda *_, **__: 4)
    sizes: list[int] = []
    generated = FakeModel.generate

    def noted(self: FakeModel, requests: Any, recipe: Recipe) -> Any:
        sizes.append(len(requests))
        return generated(self, requests, recipe)

    monkeypatch.setattr(FakeModel, "generate", noted)
    monkeypatch.setattr(sample_generator, "load_checked_model", lambda *_: FakeModel())
    return sizes


def test_the_run_and_not_the_recipe_has_it(
    four_at_once: list[int], planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DiffuMaskConfig(**planted, num_samples=8)
    assert (config.runtime.batch_size, config.plan.batch_size) == (4, 4)
    assert config.recipe.digest == DiffuMaskConfig(**planted, num_samples=8, batch_size=1).recipe.digest
    generate(tmp_path / "ds", num_samples=8, **planted)
    assert four_at_once == [4, 4]
    opened = open_dataset(tmp_path / "ds")
    assert opened.batch_size == 4
    # Who makes one of its samples again, or more of them, takes as many at once; who follows the recipe need not.
    sample_id = next(row["sample_id"] for _, row in opened.rows())
    four_at_once.clear()
    monkeypatch.setattr("diffumask_datasets.generation.config.best_batch_size", lambda *_, **__: 2)
    assert reproduce(sample_id, recipe=tmp_path / "ds").identical
    assert reproduce(sample_id, recipe=tmp_path / "ds", batch_size=3).identical
    assert four_at_once == [4, 3]
    assert DiffuMaskConfig(recipe=tmp_path / "ds").runtime.batch_size == 2
    # A recipe file of one's own says it all.
    four_at_once.clear()
    command = ["generate", "--config", str(tmp_path / "ds" / "recipe.yaml"), "--output", str(tmp_path / "again")]
    done = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "other")])
    assert (done.exit_code, four_at_once) == (0, [4, 4])


def test_a_refill_takes_as_many_at_once(four_at_once: list[int], planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=4, **planted)
    sample_id = next(row["sample_id"] for _, row in open_dataset(tmp_path / "ds").rows())
    four_at_once.clear()
    apply_decisions(tmp_path / "ds", {sample_id: Decision(sample_id, "rejected")}, tmp_path / "new", refill=True)
    assert four_at_once == [4]
    assert open_dataset(tmp_path / "new").batch_size == 4
