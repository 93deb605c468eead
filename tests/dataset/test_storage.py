import json
import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest
from datasets import load_dataset

from diffumask_datasets import generate, merge
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.storage import filesystem, parse_location
from diffumask_datasets.errors import ExportError, HubError, MissingDependencyError, RecipeError, StoreError
from diffumask_datasets.generation.store import SampleStore, default_store_root
from tests.dataset.conftest import remote_files
from tests.dataset.test_shards import files


def test_what_is_a_url_and_what_a_folder() -> None:
    assert parse_location("s3://bucket/ds/") == "s3://bucket/ds"
    assert parse_location("out/ds") == parse_location(Path("out/ds")) == Path("out/ds")
    assert parse_location("file:///data/ds") == Path("/data/ds")
    assert parse_location("~/ds") == Path.home() / "ds"


def test_the_root_may_be_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUMASK_CACHE", "s3://bucket/store")
    assert default_store_root() == "s3://bucket/store"


def test_a_store_in_a_bucket_is_a_store(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    store = SampleStore(f"{bucket}/store", "abc")
    assert (store.get(7), store.present(0, 10_000)) == (None, set())
    for index in (7, 999, 1000, 5000):
        store.put(index, b"x" * index)
    again = SampleStore(f"{bucket}/store", "abc")
    assert again.get(999) == b"x" * 999
    assert (again.present(0, 10_000), again.present(8, 1001)) == ({7, 999, 1000, 5000}, {999, 1000})
    there, path = filesystem(f"{bucket}/store/abc/00000/00000007.sample")
    there.pipe_file(path, there.cat_file(path)[:-1] + b"y")
    with caplog.at_level(logging.WARNING):
        assert again.get(7) is None
    assert "00000007.sample is damaged or another sample's; it will be generated again" in caplog.text
    caplog.clear()
    there.cp_file(path.replace("007.", "999."), path)
    with caplog.at_level(logging.WARNING):
        assert again.get(7) is None
    assert "00000007.sample is damaged or another sample's; it will be generated again" in caplog.text


def test_present_is_what_was_put(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "abc")
    for index in (7, 999, 1000, 90_000_000):
        store.put(index, b"x")
    assert store.present(0, 2000) == {7, 999, 1000}
    assert store.present(8, 1000) == {999}
    assert store.present(90_000_000, 90_000_001) == {90_000_000}


def test_store_and_output_in_a_bucket(planted: dict[str, Any], tmp_path: Path, bucket: str, generated: Any) -> None:
    generate(tmp_path / "ds", num_samples=5, preview=True, **planted)
    before = generated()
    generate(f"{bucket}/ds", num_samples=9, store=f"{bucket}/store", **planted)
    generate(f"{bucket}/ds", num_samples=5, store=f"{bucket}/store", preview=True, mask_workers=1, **planted)
    assert generated() - before == 9
    assert remote_files(f"{bucket}/ds") == files(tmp_path / "ds")
    files_there = f"{bucket}/ds/data/*.parquet"
    cache = str(tmp_path / "cache")
    assert load_dataset("parquet", data_files=files_there, split="train", cache_dir=cache).num_rows == 5


def test_shards_in_a_bucket_are_merged(planted: dict[str, Any], tmp_path: Path, bucket: str) -> None:
    generate(tmp_path / "ds", num_samples=5, **planted)
    for index in range(2):
        generate(f"{bucket}/parts/{index}", num_samples=5, shard=f"{index}/2", **planted)
    merge([f"{bucket}/parts/{index}" for index in range(2)], f"{bucket}/merged")
    assert remote_files(f"{bucket}/merged") == files(tmp_path / "ds")


def test_a_bucket_with_other_things_is_left_alone(planted: dict[str, Any], bucket: str, generated: Any) -> None:
    with fsspec.open(f"{bucket}/photos/cat.jpg", "wb") as file:
        file.write(b"cat")
    with pytest.raises(ExportError, match="photos is not empty and not a dataset of ours"):
        generate(f"{bucket}/photos", num_samples=2, **planted)
    assert generated() == 0
    assert remote_files(f"{bucket}/photos") == {"cat.jpg": b"cat"}


def test_places_that_cannot_be_used(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="cannot write the sample store at s3://nobodys-bucket/abc: "):
        SampleStore("s3://nobodys-bucket", "abc").check_writable()
    with pytest.raises(RecipeError, match="cannot use nowhere://x/abc: Protocol not known: nowhere"):
        SampleStore("nowhere://x", "abc")
    with pytest.raises(MissingDependencyError, match=r"gcsfs is not installed: pip install 'diffumask-datasets\[gs\]'"):
        SampleStore("gs://bucket", "abc")


def test_a_half_uploaded_dataset_does_not_look_finished(
    planted: dict[str, Any], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    generate(f"{bucket}/ds", num_samples=2, **planted)
    put_file = s3fs.S3FileSystem._put_file

    async def fails(self: Any, here: str, there: str, **options: Any) -> None:
        if there.endswith(".json"):
            raise OSError("the line was cut")
        await put_file(self, here, there, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", fails)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ExportError, match=r"cannot write s3://.*: the line was cut; check the address and your rights"):
        generate(f"{bucket}/ds", num_samples=4, **planted)
    assert "recipe.yaml" not in remote_files(f"{bucket}/ds")
    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", put_file)
    s3fs.S3FileSystem.clear_instance_cache()
    generate(f"{bucket}/ds", num_samples=4, **planted)
    assert json.loads(remote_files(f"{bucket}/ds")["id2label.json"])["1"] == "car"


def test_a_folder_that_is_missing_is_named_beside_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="there is no folder out/ds here; if you mean one on the Hub, try again"):
        open_dataset("out/ds")
