import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import load_dataset

import diffumask_datasets
from diffumask_datasets.builders.diffumask import DiffuMask
from diffumask_datasets.dataset.schema import element_of
from diffumask_datasets.errors import ModelError, RecipeError, StoreError

CLASSES = ["car", "potted plant", "boat"]


def content(dataset: Any) -> list[tuple[str, bytes, bytes]]:
    raw = dataset.cast_column("image", datasets.Image(decode=False)).cast_column("label", datasets.Image(decode=False))
    return [(row["sample_id"], row["image"]["bytes"], row["label"]["bytes"]) for row in raw]


def test_map_style(planted: dict[str, Any], cache_dir: str) -> None:
    dataset = load_dataset("diffumask", num_samples=6, split="train", cache_dir=cache_dir, **planted)
    assert dataset.num_rows == 6
    assert dataset.features["label"] == datasets.Image()
    assert element_of(dataset.features["classes"]).names == ["background", *CLASSES]
    row = dataset[4]
    assert row["image"].size == row["label"].size == (64, 48)
    label = np.asarray(row["label"])
    assert sorted(set(label.ravel().tolist()) - {0}) == row["classes"]
    assert row["objects"]["area"] == [int((label == row["classes"][0]).sum())]


def test_a_stream_generates_one_sample_per_next(
    planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]
) -> None:
    stream = load_dataset("diffumask", streaming=True, split="train", cache_dir=cache_dir, **planted)
    next(iter(stream))
    assert generated() == 1


def test_a_stream_without_size_is_endless(planted: dict[str, Any], cache_dir: str) -> None:
    stream = load_dataset("diffumask", streaming=True, split="train", cache_dir=cache_dir, **planted)
    assert len({row["sample_id"] for row in stream.take(40)}) == 40
    assert stream.num_shards == 90_000


def test_stream_and_map_style_share_samples(
    planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]
) -> None:
    stream = load_dataset("diffumask", num_samples=5, streaming=True, split="train", cache_dir=cache_dir, **planted)
    streamed = content(stream)
    stored = load_dataset("diffumask", num_samples=5, split="train", cache_dir=cache_dir, **planted)
    assert content(stored) == streamed
    assert generated() == 5


def test_growing_generates_only_the_new(planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]) -> None:
    small = load_dataset("diffumask", num_samples=8, split="train", cache_dir=cache_dir, **planted)
    large = load_dataset("diffumask", num_samples=80, split="train", cache_dir=cache_dir, **planted)
    assert generated() == 80
    assert content(large)[:8] == content(small)


@pytest.mark.parametrize("runtime", [{"num_shards": 2}, {"num_shards": 5}, {"num_shards": 5, "num_proc": 2}])
def test_bytes_do_not_depend_on_shards_or_processes(
    planted: dict[str, Any], cache_dir: str, tmp_path: Path, runtime: dict[str, int]
) -> None:
    def load(name: str, **how: Any) -> Any:
        folder = {"store": str(tmp_path / name / "store"), "cache_dir": str(tmp_path / name / "datasets")}
        return load_dataset("diffumask", num_samples=10, split="train", **folder, **how, **planted)

    assert content(load("other", **runtime)) == content(load("plain", num_shards=1))


def test_map_style_takes_the_whole_machine_unless_num_proc_does(
    planted: dict[str, Any], tmp_path: Path, generated: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **how: Any) -> Any:
        folder = {"store": str(tmp_path / name / "store"), "cache_dir": str(tmp_path / name / "datasets")}
        return load_dataset("diffumask", num_samples=6, split="train", **folder, **how, **planted)

    plain = content(load("plain"))
    before = generated()
    monkeypatch.setattr("diffumask_datasets.generation.engines.local.best_workers", lambda *_, **__: 2)
    assert content(load("both")) == plain
    assert generated() == before
    assert content(load("one", num_proc=1)) == plain
    assert generated() == before + 6


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_dataloader_workers(planted: dict[str, Any], cache_dir: str, context: str) -> None:
    from torch.utils.data import DataLoader

    stream = load_dataset("diffumask", num_samples=8, streaming=True, split="train", cache_dir=cache_dir, **planted)
    columns = stream.select_columns(["sample_id"])
    loader = DataLoader(columns, batch_size=2, num_workers=2, multiprocessing_context=context)
    seen = [sample_id for batch in loader for sample_id in batch["sample_id"]]
    assert sorted(seen) == [row["sample_id"] for row in columns]


def test_splits_share_nothing(planted: dict[str, Any], cache_dir: str) -> None:
    both = load_dataset("diffumask", splits={"train": 4, "validation": 3}, cache_dir=cache_dir, **planted)
    assert {name: split.num_rows for name, split in both.items()} == {"train": 4, "validation": 3}
    assert not set(both["train"]["seed"]) & set(both["validation"]["seed"])


@pytest.mark.parametrize(
    ("config", "columns"),
    [
        ("instance", ["sample_id", "image", "annotation", "semantic_class_to_id"]),
        ("detection", ["image_id", "image", "width", "height", "objects"]),
        ("panoptic", ["sample_id", "image", "panoptic", "segments_info"]),
    ],
)
def test_other_configs_are_views_of_the_same_samples(
    planted: dict[str, Any], cache_dir: str, generated: Callable[[], int], config: str, columns: list[str]
) -> None:
    load_dataset("diffumask", num_samples=2, split="train", cache_dir=cache_dir, **planted)
    view = load_dataset("diffumask", config, num_samples=2, split="train", cache_dir=cache_dir, **planted)
    assert view.column_names == columns
    assert generated() == 2


def test_heat_maps_can_be_kept_afterwards(
    planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]
) -> None:
    common = {"num_samples": 2, "split": "train", "cache_dir": cache_dir, **planted}
    assert "heat_maps" not in load_dataset("diffumask", **common).column_names
    row = load_dataset("diffumask", keep_heat_maps=True, **common)[0]
    assert np.asarray(row["heat_maps"]["map"][0]).max() == 255
    assert row["heat_maps"]["category"] == row["classes"]
    assert generated() == 2


def test_the_cache_knows_equal_recipes(planted: dict[str, Any], cache_dir: str) -> None:
    listed = DiffuMask(cache_dir=cache_dir, num_samples=2, **planted)
    tupled = DiffuMask(cache_dir=cache_dir, num_samples=2, seed=0, **{**planted, "classes": tuple(CLASSES)})
    other = DiffuMask(cache_dir=cache_dir, num_samples=2, seed=1, **planted)
    assert listed.cache_dir == tupled.cache_dir != other.cache_dir


def test_our_own_load_dataset_needs_no_registration(planted: dict[str, Any], cache_dir: str) -> None:
    ours = diffumask_datasets.load_dataset(num_samples=3, split="train", cache_dir=cache_dir, **planted)
    theirs = load_dataset("diffumask", num_samples=3, split="train", cache_dir=cache_dir, **planted)
    assert content(ours) == content(theirs)
    stream = diffumask_datasets.load_dataset(streaming=True, split="train", cache_dir=cache_dir, **planted)
    assert next(iter(stream))["sample_id"] == theirs[0]["sample_id"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": None}, r"give num_samples=\.\.\., or streaming=True"),
        ({"num_sample": 3}, r"unknown field 'num_sample' \(did you mean 'num_samples'\?\)"),
        ({"num_samples": 0}, "expected a number of samples from 1"),
        ({"batch_size": 0}, "batch_size: expected a number from 1 up"),
        ({"name": "instances"}, r"unknown config 'instances' \(did you mean 'instance'\?\)"),
        ({"revision": "old"}, "not the revision 'old'"),
    ],
)
def test_bad_input(planted: dict[str, Any], cache_dir: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError if "revision" not in change else ValueError, match=message):
        load_dataset("diffumask", **{"num_samples": 2, "cache_dir": cache_dir, **planted, **change})


def test_the_store_cannot_be_written(planted: dict[str, Any], cache_dir: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stream = load_dataset(
        "diffumask", streaming=True, split="train", cache_dir=cache_dir, store=str(tmp_path / "file"), **planted
    )
    with pytest.raises(OSError, match=r"cannot write the sample store at .*file.*: Not a directory; free space or set"):
        next(iter(stream))


def test_a_killed_run_goes_on_where_it_stopped(
    planted: dict[str, Any], tmp_path: Path, cache_dir: str, generated: Callable[[], int]
) -> None:
    code = f"""
import os, signal, sys
from datasets import load_dataset
import diffumask_datasets
from diffumask_datasets.diffusion.fake_model import FakeModel
last = int(sys.argv[1])
generate = FakeModel.generate
def generate_or_die(self, requests, recipe):
    if FakeModel.images_generated >= last:
        os.kill(os.getpid(), signal.SIGKILL)
    return generate(self, requests, recipe)
FakeModel.generate = generate_or_die
fields = {planted!r}
load_dataset("diffumask", num_samples=12, split="train", cache_dir=sys.argv[2], batch_size=2, **fields)
print("generated", FakeModel.images_generated)
"""

    def run(stop_after: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DIFFUMASK_CACHE": str(tmp_path / "killed")}
        command = [sys.executable, "-c", code, str(stop_after), str(tmp_path / "killed" / "datasets")]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert run(8).returncode == -9
    assert "generated 4" in run(1000).stdout
    straight = {"store": str(tmp_path / "straight"), "cache_dir": cache_dir}
    load_dataset("diffumask", num_samples=12, split="train", batch_size=2, **straight, **planted)
    assert generated() == 12

    def entries(where: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / where).rglob("*.sample")}

    assert len(entries("killed")) == 12
    assert entries("killed") == entries("straight")


@pytest.mark.parametrize("how", [{}, {"num_proc": 2}, {"streaming": True}], ids=["map-style", "num_proc", "streaming"])
@pytest.mark.parametrize(
    ("fields", "kind", "line"),
    [
        (
            {"model": "toybox", "device": "abacus"},
            ModelError,
            "unknown device 'abacus'; e.g. 'cpu', 'cuda' or 'cuda:1'",
        ),
        (
            {"model": "planted", "store": "{tmp}/file/store"},
            StoreError,
            "cannot write the sample store at {tmp}/file/store",
        ),
    ],
)
def test_the_last_line_of_a_traceback_is_ours(
    tmp_path: Path, cache_dir: str, how: dict[str, Any], fields: dict[str, str], kind: type[Exception], line: str
) -> None:
    (tmp_path / "file").touch()
    fields = {name: value.format(tmp=tmp_path) for name, value in fields.items()}
    with pytest.raises(kind) as caught:
        next(
            iter(
                load_dataset(
                    "diffumask", classes=["car"], num_samples=2, split="train", cache_dir=cache_dir, **fields, **how
                )
            )
        )
    last = traceback.format_exception(caught.value)[-1]
    assert last.startswith(f"diffumask_datasets.errors.{kind.__name__}: {line.format(tmp=tmp_path)}")
