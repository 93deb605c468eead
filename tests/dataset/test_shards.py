import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets import generate, merge
from diffumask_datasets.errors import DataError, ExportError, RecipeError
from diffumask_datasets.recipes.splits import ShardNumber, SplitPlan
from tests.conftest import PLANTED

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


@given(
    sizes=st.fixed_dictionaries({"train": st.integers(1, 60), "test": st.integers(1, 9)}),
    count=st.integers(1, 12),
    batch_size=st.integers(1, 7),
    skip=st.sets(st.integers(0, 40), max_size=6),
)
def test_shards_are_the_whole_in_order(sizes: dict[str, int], count: int, batch_size: int, skip: set[int]) -> None:
    plan = SplitPlan.of(splits=sizes, batch_size=batch_size, skip=sorted(skip))
    whole = {split: [k for shard in shards for k in range(*shard)] for split, shards in plan.shards()}
    parts = [plan.shard(ShardNumber(index, count)) for index in range(count)]
    assert whole == {split: [k for part in parts for shard in part[split] for k in range(*shard)] for split in sizes}
    lengths = [sum(stop - start for start, stop in part["train"]) for part in parts]
    assert max(lengths) - min(lengths) <= 2 * batch_size + len(skip)


@settings(max_examples=5)
@given(count=st.integers(1, 9), order=st.randoms(use_true_random=False))
def test_merged_shards_have_the_bytes_of_one_run(
    tmp_path_factory: pytest.TempPathFactory, count: int, order: Any
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    fields = {**PLANTED, "splits": {"train": 7, "validation": 3}, "skip": [2, 5], "keep_heat_maps": True}
    generate(folder / "whole", store=folder / "store", **fields)
    parts = [folder / f"part {index}" for index in range(count)]
    for index, part in enumerate(parts):
        generate(part, shard=f"{index}/{count}", store=folder / "store", **fields)
    order.shuffle(parts)
    merge(parts, folder / "merged")
    assert files(folder / "merged") == files(folder / "whole")


def test_row_groups_are_cut_by_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has heat maps, the shards have none: both give the same groups."""
    monkeypatch.setattr("diffumask_datasets.dataset.writer.BYTES_PER_GROUP", 20_000)
    fields = {**PLANTED, "num_samples": 12, "store": tmp_path / "store"}
    generate(tmp_path / "whole", **fields)
    generate(tmp_path / "shard", shard="0/1", **fields)
    merge([tmp_path / "shard"], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    groups = pq.read_metadata(tmp_path / "whole" / "data" / "train-00000-of-00001.parquet").num_row_groups
    assert 1 < groups < 12


def test_merged_shards_of_a_dense_recipe(tmp_path: Path) -> None:
    dense = {"kind": "compose", "objects": [4, 6], "min_quality": 0.1}
    fields = {**PLANTED, "num_samples": 18, "augment": dense, "keep_heat_maps": True, "store": tmp_path / "store"}
    generate(tmp_path / "whole", **fields)
    for count in (2, 3):
        parts = [tmp_path / f"part {index} of {count}" for index in range(count)]
        for index, part in enumerate(parts):
            generate(part, shard=f"{index}/{count}", **fields)
        merge(parts, tmp_path / f"merged {count}")
        assert files(tmp_path / f"merged {count}") == files(tmp_path / "whole")


def test_a_shard_makes_its_share_alone(planted: dict[str, Any], tmp_path: Path, generated: Any) -> None:
    generate(tmp_path / "part", num_samples=8, shard="1/4", preview=True, **planted)
    assert generated() == 2
    assert json.loads((tmp_path / "part" / "shard.json").read_text()) == {"shard": "1/4", "ranges": {"train": [2, 4]}}
    assert (tmp_path / "part" / "preview.png").exists()


def test_large_datasets_are_cut_into_files_alike(planted: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("diffumask_datasets.dataset.writer.ROWS_PER_FILE", 3)
    generate(tmp_path / "whole", num_samples=8, **planted)
    for index in range(3):
        generate(tmp_path / str(index), num_samples=8, shard=f"{index}/3", **planted)
    merge([tmp_path / str(index) for index in range(3)], tmp_path / "merged")
    assert files(tmp_path / "merged") == files(tmp_path / "whole")
    assert len(files(tmp_path / "merged")) == 5


@pytest.mark.parametrize("text", ["8/8", "-1/8", "1", "1/0", "a/b", "1/2/3"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(RecipeError, match=r"expected i/n with i from 0 to n - 1, e\.g\. 0/8 … 7/8"):
        ShardNumber.parse(text)


def test_what_does_not_belong_together_is_not_merged(planted: dict[str, Any], tmp_path: Path) -> None:
    for index in range(3):
        generate(tmp_path / str(index), num_samples=8, shard=f"{index}/3", **planted)
    generate(tmp_path / "again", num_samples=8, shard="1/3", **planted)
    generate(tmp_path / "longer", num_samples=9, shard="1/3", **planted)
    generate(tmp_path / "batched", num_samples=8, shard="1/3", batch_size=2, **planted)
    generate(tmp_path / "whole", num_samples=8, **planted)
    cases = {
        ("0", "2"): "shards 1 of 3 are missing: generate them, then merge",
        ("0", "1", "2", "again"): r"1 and .*again are both shard 1/3: leave one out",
        ("0", "longer", "2"): r"longer \(shard 1/3\) and .* are of different runs",
        (
            "0",
            "batched",
            "2",
        ): r"batches of 1, shard 1/3 in batches of 2: run generate --shard 1/3 --batch-size 1 again",
        ("whole",): r"whole is not the folder of a shard .*; make one with diffumask generate --shard i/n",
        (): "no shards given",
    }
    for names, message in cases.items():
        with pytest.raises(DataError, match=message):
            merge([tmp_path / name for name in names], tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="photos is not empty and not a dataset of ours"):
        merge([tmp_path / str(index) for index in range(3)], tmp_path / "photos")


def test_the_slurm_script_makes_the_dataset(planted: dict[str, Any], tmp_path: Path) -> None:
    fields = {**planted, "refinement": None, "splits": {"train": 5}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(fields))
    generate(tmp_path / "whole", **fields)
    script = str(ROOT / "examples" / "cluster" / "slurm_array.sh")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "diffumask"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m diffumask_datasets "$@"\n')
    program.chmod(0o755)

    def task(*arguments: str, **variables: str) -> None:
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{path}", "BATCH_SIZE": "1", **variables}
        command = [script, str(tmp_path / "recipe.yaml"), str(tmp_path / "ds"), *arguments]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)

    for index in ("1", "0"):
        task(SLURM_ARRAY_TASK_ID=index, SLURM_ARRAY_TASK_COUNT="2")
    task("merge")
    assert files(tmp_path / "ds") == files(tmp_path / "whole")


def test_the_jobs_script_says_what_it_would_run(tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "cluster" / "hf_jobs.py")
    command = [sys.executable, script, "recipe.yaml", "me/boats", "--jobs", "2", "--dry-run"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    first, second, last = done.stdout.splitlines()
    assert "--shard 0/2" in first
    assert "--shard 1/2" in second
    assert "hf upload me/boats-shards /tmp/out shards/00001" in second
    assert "diffumask merge /tmp/run/shards/* --output /tmp/out && diffumask push /tmp/out me/boats" in last


def test_the_plan_is_the_slowest_stage() -> None:
    script = str(ROOT / "examples" / "cluster" / "plan.py")

    def planned(*options: str) -> list[str]:
        command = [sys.executable, script, "--images", "7200", "--gpus", "2", "--start-seconds", "0", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    assert planned("--generate-seconds", "1") == [
        "7,200 images an hour; 1.0 hours, then 0.0 of merging",
        "4 dollars; 0.00 TB; waits for generation",
    ]
    assert planned("--generate-seconds", "1", "--refine-seconds", "8", "--cores-per-gpu", "4")[1].endswith("refinement")
