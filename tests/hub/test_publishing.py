import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import DatasetCard, HfApi
from PIL import Image

from diffumask_datasets import generate, push
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import HubError
from diffumask_datasets.hub.card import make_card
from diffumask_datasets.hub.summary import Summary
from tests.helpers.hub_content import validate
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub

NAME = "me/boats"


def masks(dataset: Any, column: str = "label") -> list[np.ndarray]:
    return [np.asarray(row[column]) for row in dataset]


def test_what_is_pushed_is_loaded(local_hub: LocalHub, folder: Path, cache_dir: str) -> None:
    assert push(folder, NAME, token=GOOD_TOKEN).endswith("/datasets/me/boats")
    loaded = load_dataset(NAME, cache_dir=cache_dir)
    local = load_dataset(str(folder), cache_dir=cache_dir)
    assert loaded["train"].features == local["train"].features
    for split, size in {"train": 5, "validation": 2}.items():
        assert loaded[split].num_rows == size
        for mine, theirs in zip(loaded[split], local[split], strict=True):
            np.testing.assert_array_equal(np.asarray(mine["label"]), np.asarray(theirs["label"]))
            np.testing.assert_array_equal(np.asarray(mine["image"]), np.asarray(theirs["image"]))
            assert mine["objects"] == theirs["objects"]
    instance = load_dataset(NAME, "instance", split="train", cache_dir=cache_dir)
    for annotation, label in zip(masks(instance, "annotation"), masks(local["train"]), strict=True):
        np.testing.assert_array_equal(annotation[..., 0], np.where(label == 255, 0, label))
    detection = load_dataset(NAME, "detection", split="validation", cache_dir=cache_dir)
    assert detection[0]["objects"]["bbox"] == local["validation"][0]["objects"]["bbox"]
    assert json.loads(local_hub.state.repos[NAME].files["id2label.json"])["3"] == "boat"


def test_a_dataset_is_made_again_from_the_hub(
    local_hub: LocalHub, folder: Path, cache_dir: str, tmp_path: Path
) -> None:
    push(folder, NAME, token=GOOD_TOKEN)
    again = load_dataset("diffumask", recipe=NAME, store=str(tmp_path / "fresh"), split="train", cache_dir=cache_dir)
    original = load_dataset(str(folder), split="train", cache_dir=cache_dir)
    assert again["sample_id"][:] == original["sample_id"][:]
    for mine, theirs in zip(masks(again), masks(original), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_card_is_valid_and_says_what_is_there(local_hub: LocalHub, folder: Path) -> None:
    push(folder, NAME, token=GOOD_TOKEN, licence="apache-2.0")
    files = local_hub.state.repos[NAME].files
    card = DatasetCard(files["README.md"].decode())
    status, answer = validate(files["README.md"].decode())  # DatasetCard.validate of older clients knows one Hub only
    assert (status, answer["errors"]) == (200, [])
    assert "POST /api/validate-yaml" in local_hub.state.requests
    data = card.data.to_dict()
    assert (data["license"], data["size_categories"]) == ("apache-2.0", ["n<1K"])
    assert [config["config_name"] for config in data["configs"]] == ["default", "instance", "detection"]
    assert {info["config_name"] for info in data["dataset_info"]} == {"default", "instance", "detection"}
    assert {"synthetic", "segmentation"} <= set(data["tags"])
    for part in (
        "| train | 5 |",
        "| validation | 2 |",
        "potted plant",
        "planted",
        'recipe="me/boats"',
        "@inproceedings{wu2023diffumask",
        "pseudo-labels",
        "Density: 1.0 objects and 1.0 classes an image; 0 % of the objects touch another one",
    ):
        assert part in card.text, part
    for name in ("assets/samples.png", "assets/areas.png"):
        assert Image.open(io.BytesIO(files[name])).size[0] > 200
    assert yaml.safe_load(files["recipe.yaml"])["splits"] == {"train": 5, "validation": 2}


def test_the_card_names_the_model_that_accepted_samples(folder: Path) -> None:
    opened = open_dataset(folder)
    summary = Summary(opened.classes)
    for split, row in opened.rows():
        summary.see(split, row)
    assert "accepted by" not in make_card(NAME, opened, summary).text
    asked = dataclasses.replace(opened, recipe_fields={**(opened.recipe_fields or {}), "presence": "me/clip"})
    assert "| accepted by | me/clip |" in make_card(NAME, asked, summary).text


def test_what_others_wrote_stands_in_the_card_as_text(folder: Path) -> None:
    opened = open_dataset(folder)
    summary = Summary(opened.classes)
    for split, row in opened.rows():
        summary.see(split, row)
    odd = dataclasses.replace(opened, recipe_fields={**(opened.recipe_fields or {}), "revision": "`<img src=x>|"})
    text = make_card(NAME, odd, summary, model_licence="<script>").text
    assert r"at revision \`\<img src=x\>\| |" in text
    assert r"| licence of the model | \<script\> |" in text


def test_a_second_push_sends_nothing(local_hub: LocalHub, folder: Path) -> None:
    push(folder, NAME, token=GOOD_TOKEN)
    state = local_hub.state
    sent, commits = list(state.uploads), list(state.repos[NAME].commits)
    push(folder, NAME, token=GOOD_TOKEN)
    assert state.uploads == sent
    assert state.repos[NAME].commits == commits
    assert len(set(sent)) == len(sent) == 8  # 3 configs of 2 splits, 2 pictures


def test_a_cut_connection_is_survived_and_nothing_is_sent_twice(local_hub: LocalHub, folder: Path) -> None:
    local_hub.state.cut_uploads = 2
    push(folder, NAME, token=GOOD_TOKEN)
    assert len(local_hub.state.uploads) == len(set(local_hub.state.uploads)) == 8
    assert local_hub.state.cut_uploads == 0
    assert load_dataset(NAME, split="train", streaming=True).take(1)


def test_an_interrupted_push_goes_on_where_it_stopped(local_hub: LocalHub, folder: Path) -> None:
    local_hub.state.takes_commits = False
    with pytest.raises(HubError, match="Storage limit reached"):
        push(folder, NAME, token=GOOD_TOKEN)
    assert local_hub.state.repos[NAME].files == {}  # nobody sees half a dataset
    arrived = list(local_hub.state.uploads)
    assert len(arrived) == 8
    local_hub.state.takes_commits = True
    push(folder, NAME, token=GOOD_TOKEN)
    assert local_hub.state.uploads == arrived
    assert "data/train-00000-of-00001.parquet" in local_hub.state.repos[NAME].files


def test_a_smaller_dataset_leaves_no_old_files(local_hub: LocalHub, folder: Path, planted: dict[str, Any]) -> None:
    push(folder, NAME, token=GOOD_TOKEN)
    generate(folder, num_samples=3, keep_heat_maps=True, **planted)
    push(folder, NAME, token=GOOD_TOKEN)
    names = sorted(name for name in local_hub.state.repos[NAME].files if name.startswith("data/"))
    assert names == ["data/train-00000-of-00001.parquet"]


def test_an_existing_card_is_kept(local_hub: LocalHub, folder: Path) -> None:
    api = HfApi(token=GOOD_TOKEN)
    api.create_repo(NAME, repo_type="dataset")
    own = "---\nlicense: mit\nlanguage: [en]\ntags: [boats]\npretty_name: My boats\n---\n# My boats\n\nFor Anna.\n"
    api.upload_file(path_or_fileobj=own.encode(), path_in_repo="README.md", repo_id=NAME, repo_type="dataset")
    push(folder, NAME, token=GOOD_TOKEN)
    push(folder, NAME, token=GOOD_TOKEN)
    card = DatasetCard(local_hub.state.repos[NAME].files["README.md"].decode())
    assert card.text.count("For Anna.") == card.text.count("wu2023diffumask") == 1
    data = card.data.to_dict()
    assert (data["license"], data["language"], data["pretty_name"]) == ("mit", ["en"], "My boats")
    assert data["tags"] == ["boats", "synthetic", "segmentation", "diffumask"]
    assert len(data["configs"]) == 3


def test_row_groups_and_indexes_fit_the_viewer(
    local_hub: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffumask_datasets.dataset.writer.ROWS_PER_GROUP", 2)
    push(folder, NAME, token=GOOD_TOKEN)
    data = local_hub.state.repos[NAME].files["data/train-00000-of-00001.parquet"]
    metadata = pq.read_metadata(io.BytesIO(data))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 2, 1]
    assert metadata.row_group(0).column(0).has_offset_index
    assert b"huggingface" in metadata.metadata


def test_a_large_split_is_cut_into_files(
    local_hub: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: str
) -> None:
    monkeypatch.setattr("diffumask_datasets.dataset.writer.ROWS_PER_FILE", 2)
    push(folder, NAME, token=GOOD_TOKEN)
    local = load_dataset(str(folder), split="train", cache_dir=cache_dir)
    assert load_dataset(NAME, split="train", cache_dir=cache_dir)["sample_id"][:] == local["sample_id"][:]
    assert "detection/train-00002-of-00003.parquet" in local_hub.state.repos[NAME].files


def test_a_dataset_in_memory_and_datasets_own_push(local_hub: LocalHub, folder: Path, cache_dir: str) -> None:
    dataset = load_dataset(str(folder), split="train", cache_dir=cache_dir).remove_columns("heat_maps")
    push(dataset, "me/ours", token=GOOD_TOKEN)
    dataset.push_to_hub("me/theirs", token=GOOD_TOKEN)
    ours, theirs = (load_dataset(name, split="train", cache_dir=cache_dir) for name in ("me/ours", "me/theirs"))
    for one, other, third in zip(masks(ours), masks(theirs), masks(dataset), strict=True):
        np.testing.assert_array_equal(one, third)
        np.testing.assert_array_equal(other, third)
    files = local_hub.state.repos["me/ours"].files
    assert "recipe.yaml" not in files
    assert "Make it again" not in files["README.md"].decode()


def test_the_command(local_hub: LocalHub, folder: Path) -> None:
    command = [sys.executable, "-m", "diffumask_datasets", "push", str(folder), NAME, "--private"]
    environment = {**os.environ, "HF_TOKEN": GOOD_TOKEN}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, f"pushed {os.environ['HF_ENDPOINT']}/datasets/me/boats\n"), done.stderr
    assert local_hub.state.repos[NAME].private
    bad = subprocess.run([*command, "--token", "hf_wrong"], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: the Hub ")
    assert bad.stderr.count("\n") == 1
    assert "hf_wrong" not in bad.stderr + bad.stdout


def test_a_card_that_would_exhaust_the_reader_is_refused(local_hub: LocalHub, folder: Path) -> None:
    HfApi(token=GOOD_TOKEN).create_repo(NAME, repo_type="dataset")
    hostile = b"---\ntags: " + b"[" * 50_000 + b"\n---\n# ours\n"
    local_hub.state.repos[NAME].files["README.md"] = hostile
    with pytest.raises(
        HubError, match=r"the metadata of the card that is there, README\.md, is nested more than 32 deep"
    ):
        push(folder, NAME, token=GOOD_TOKEN)
    assert local_hub.state.repos[NAME].files["README.md"] == hostile
