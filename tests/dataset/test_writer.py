import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from diffumask_datasets import generate
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import ExportError, RecipeError, StoreError
from diffumask_datasets.recipes.recipe import Recipe

WITHOUT_US = """
import sys
sys.modules["diffumask_datasets"] = None  # as on a machine where the package is not installed
import numpy as np
from datasets import load_dataset
both = load_dataset(sys.argv[1], cache_dir=sys.argv[2])
row = both["validation"][1]
classes = both["validation"].features["classes"]
names = (classes[0] if isinstance(classes, list) else classes.feature).names  # datasets 3 has lists where 4 has List
label = np.asarray(row["label"])
print(sorted(both), both["train"].num_rows, names[row["classes"][0]], row["objects"]["area"] == [int((label > 0).sum())])
"""


def test_plain_datasets_reads_it_without_this_package(planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    generate(tmp_path / "ds", splits={"train": 3, "validation": 2}, **{**planted, "classes": ["potted plant"]})
    command = [sys.executable, "-c", WITHOUT_US, str(tmp_path / "ds"), cache_dir]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "['train', 'validation'] 3 potted plant True\n"


def test_what_lies_in_the_folder(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=3, preview=True, **planted)
    files = sorted(path.relative_to(tmp_path / "ds").as_posix() for path in (tmp_path / "ds").rglob("*.*"))
    assert files == ["data/train-00000-of-00001.parquet", "id2label.json", "preview.png", "recipe.yaml"]
    labels = json.loads((tmp_path / "ds" / "id2label.json").read_text())
    assert labels == {"0": "background", "1": "car", "2": "potted plant", "3": "boat"}
    assert b"huggingface" in pq.read_schema(tmp_path / "ds" / files[0]).metadata


def test_the_folder_holds_what_load_dataset_gives(planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    generate(tmp_path / "ds", num_samples=3, keep_heat_maps=True, **planted)
    folder = load_dataset(str(tmp_path / "ds"), split="train", cache_dir=cache_dir)
    built = load_dataset("diffumask", num_samples=3, keep_heat_maps=True, split="train", cache_dir=cache_dir, **planted)
    assert folder.features == built.features
    assert folder["objects"][:] == built["objects"][:]
    for mine, theirs in zip(folder, built, strict=True):
        np.testing.assert_array_equal(np.asarray(mine["label"]), np.asarray(theirs["label"]))
        np.testing.assert_array_equal(np.asarray(mine["image"]), np.asarray(theirs["image"]))


def test_two_runs_give_the_same_bytes(planted: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate(tmp_path / name, num_samples=3, store=tmp_path / f"store {name}", preview=True, **planted)

    def files(name: str) -> dict[str, bytes]:
        root = tmp_path / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}

    assert files("one") == files("two")


def test_a_dataset_of_ours_is_replaced(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)
    generate(tmp_path / "ds", num_samples=4, **planted)
    assert pq.read_table(tmp_path / "ds" / "data").num_rows == 4


def test_a_foreign_folder_is_refused_before_any_work(planted: dict[str, Any], tmp_path: Path, generated: Any) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="photos is not empty and not a dataset of ours"):
        generate(tmp_path / "photos", num_samples=2, **planted)
    assert generated() == 0
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_an_interrupted_write_leaves_the_old_dataset(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)

    def rows() -> Any:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "ds", {"train": rows()}, recipe=Recipe.of(**planted), sizes={"train": 2})
    assert pq.read_table(tmp_path / "ds" / "data").num_rows == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds", "store"]


def test_large_splits_are_cut_into_files(planted: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("diffumask_datasets.dataset.writer.ROWS_PER_FILE", 2)
    generate(tmp_path / "ds", num_samples=5, **planted)
    names = sorted(path.name for path in (tmp_path / "ds" / "data").iterdir())
    assert names == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    assert load_dataset(str(tmp_path / "ds"), split="train", cache_dir=str(tmp_path / "cache")).num_rows == 5


def test_a_folder_needs_a_size(planted: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no size"):
        generate(tmp_path / "ds", **planted)
    assert not (tmp_path / "ds").exists()


def test_an_empty_or_missing_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        check_target(tmp_path / name)
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "notes.txt").touch()
        with pytest.raises(ExportError, match="is not empty and not a dataset of ours"):
            check_target(tmp_path / name)


def test_a_target_that_cannot_be_made(planted: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write .*: Not a directory"):
        generate(tmp_path / "file" / "ds", num_samples=1, **planted)


def test_a_store_that_cannot_be_read_is_not_an_output_that_cannot_be_written(
    planted: dict[str, Any], tmp_path: Path, own_store: Path
) -> None:
    generate(tmp_path / "ds", num_samples=2, **planted)
    (entry,) = own_store.rglob("00000001.sample")
    entry.unlink()
    entry.mkdir()
    with pytest.raises(StoreError, match=f"^cannot read {entry}: Is a directory; check its permissions and the disk"):
        generate(tmp_path / "again", num_samples=2, **planted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds", "store"]
