import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import datasets.inspect
import pytest
from datasets import load_dataset

from diffumask_datasets import register
from diffumask_datasets.builders.registration import _wrap_factory
from diffumask_datasets.errors import MissingDependencyError


def test_registering_twice_wraps_once() -> None:
    before = datasets.load.dataset_module_factory
    register()
    assert datasets.load.dataset_module_factory is before
    assert before.__wrapped__.__name__ == "dataset_module_factory"
    assert not hasattr(before.__wrapped__, "_diffumask_datasets")


def test_load_dataset_imported_before_us(planted: dict[str, Any], tmp_path: Path) -> None:
    code = f"""
from datasets import load_dataset
import diffumask_datasets
print(next(iter(load_dataset("diffumask", streaming=True, split="train", **{planted!r})))["prompt"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("a photo of a ")


def test_load_dataset_imported_after_us(planted: dict[str, Any], tmp_path: Path) -> None:
    code = f"""
import sys
import diffumask_datasets
assert "datasets" not in sys.modules
from datasets import load_dataset
print(next(iter(load_dataset("diffumask", streaming=True, split="train", **{planted!r})))["prompt"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("a photo of a ")


def test_a_datasets_without_the_factory_that_is_imported_later_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=r"use diffumask_datasets\.load_dataset") as caught:
        _wrap_factory(ModuleType("datasets.load"))
    assert len(caught) == 1


def test_a_full_working_directory_changes_nothing(
    planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: str
) -> None:
    (tmp_path / "full").mkdir()
    monkeypatch.chdir(tmp_path / "full")
    empty = load_dataset("diffumask", num_samples=1, split="train", cache_dir=cache_dir, **planted)
    (tmp_path / "full" / "data.json").write_text("{}")
    (tmp_path / "full" / "train.csv").write_text("a\n1\n")
    full = load_dataset("diffumask", num_samples=1, split="train", cache_dir=cache_dir, **planted)
    assert full.cache_files == empty.cache_files


def test_other_datasets_pass_through(tmp_path: Path, cache_dir: str) -> None:
    (tmp_path / "rows.json").write_text('{"a": 1}\n')
    loaded = load_dataset("json", data_files=str(tmp_path / "rows.json"), split="train", cache_dir=cache_dir)
    assert loaded[0] == {"a": 1}


def test_inspection_finds_us_too(planted: dict[str, Any]) -> None:
    assert datasets.inspect.get_dataset_config_names("diffumask") == ["default"]


def test_a_datasets_without_the_factory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(datasets.load, "dataset_module_factory")
    with pytest.raises(MissingDependencyError, match=r"use diffumask_datasets\.load_dataset"):
        register()
