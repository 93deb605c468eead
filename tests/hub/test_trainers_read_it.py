"""A pushed dataset, read as the training examples of transformers read theirs: no step between."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, hf_hub_download

from diffumask_datasets import generate, merge, push, reproduce
from diffumask_datasets.errors import ExportError, RecipeError
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub
from tests.helpers.made_datasets import tree

NAME = "me/boats"


@pytest.fixture
def pushed(local_hub: LocalHub, planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fields = {**planted, "classes_per_image": 2}
    generate(tmp_path / "ds", splits={"train": 3, "validation": 1}, **fields)
    push(tmp_path / "ds", NAME, token=GOOD_TOKEN)
    return NAME


def test_semantic_segmentation(pushed: str, cache_dir: str) -> None:
    from transformers import BeitImageProcessor  # SegFormer's wants torchvision in some versions; both read maps alike

    dataset = load_dataset(pushed, cache_dir=cache_dir)
    names = json.loads(Path(hf_hub_download(pushed, "id2label.json", repo_type="dataset")).read_text())
    id2label = {int(number): name for number, name in names.items()}
    assert id2label == {0: "background", 1: "car", 2: "potted plant", 3: "boat"}
    processor = BeitImageProcessor(do_resize=False, do_center_crop=False, do_reduce_labels=False)
    batch = dataset["train"][:3]
    inputs = processor(images=batch["image"], segmentation_maps=batch["label"], return_tensors="np")
    for number, label in enumerate(batch["label"]):
        np.testing.assert_array_equal(inputs["labels"][number], np.asarray(label))
        assert set(np.unique(label).tolist()) <= {*id2label, 255}


def test_instance_segmentation(pushed: str, cache_dir: str) -> None:
    from transformers import Mask2FormerImageProcessor

    dataset = load_dataset(pushed, "instance", cache_dir=cache_dir)
    label2id = dataset["train"][0]["semantic_class_to_id"]
    assert label2id == {"background": 0, "car": 1, "potted plant": 2, "boat": 3}
    processor = Mask2FormerImageProcessor(do_resize=False, do_reduce_labels=False, ignore_index=255)
    found = 0
    for row in dataset["train"]:
        annotation = np.array(row["annotation"])
        semantic, instances = annotation[..., 0], annotation[..., 1]
        pairs = np.unique(np.stack([instances, semantic], axis=-1).reshape(-1, 2), axis=0)
        mapping = {int(instance): int(class_id) for instance, class_id in pairs}
        inputs = processor(
            images=[row["image"]],
            segmentation_maps=[instances],
            instance_id_to_semantic_id=mapping,
            return_tensors="pt",
        )
        for mask, class_id in zip(inputs["mask_labels"][0], inputs["class_labels"][0], strict=True):
            inside = mask.numpy().astype(bool)
            assert (semantic[inside] == int(class_id)).all()
            found += int(class_id) > 0
    assert found >= 3


@pytest.fixture
def staged(planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    generate(tmp_path / "ds", splits={"train": 3, "validation": 1}, **{**planted, "classes_per_image": 2})
    return tmp_path / "ds"


def test_the_instance_example_names_no_config(local_hub: LocalHub, staged: Path, cache_dir: str) -> None:
    push(staged, NAME, token=GOOD_TOKEN, view="instance")
    # The first lines of run_instance_segmentation.py.
    dataset = load_dataset(NAME, cache_dir=cache_dir)
    label2id = dataset["train"][0]["semantic_class_to_id"]
    assert label2id == {"background": 0, "car": 1, "potted plant": 2, "boat": 3}
    assert np.array(dataset["validation"][0]["annotation"]).shape == (48, 64, 3)
    columns = load_dataset(NAME, "semantic", split="train", cache_dir=cache_dir).column_names
    assert {"label", "objects", "prompt"} <= set(columns)


def test_the_detection_example_names_no_config(local_hub: LocalHub, staged: Path, cache_dir: str) -> None:
    push(staged, NAME, token=GOOD_TOKEN, view="detection")
    # The first lines of run_object_detection.py.
    dataset = load_dataset(NAME, cache_dir=cache_dir)
    objects = dataset["train"].features["objects"]
    category = objects["category"]  # a list in datasets 3
    assert (category[0] if isinstance(category, list) else category.feature).names == [
        "background",
        "car",
        "potted plant",
        "boat",
    ]
    assert set(dataset["train"].column_names) == {"image_id", "image", "width", "height", "objects"}


@pytest.mark.parametrize(
    ("view", "configs", "example"),
    [
        ("default", ["default", "instance", "detection"], "run_semantic_segmentation.py"),
        ("instance", ["semantic", "instance", "detection"], "run_instance_segmentation.py"),
        ("detection", ["semantic", "instance", "detection"], "run_object_detection.py"),
    ],
)
def test_the_card_names_the_example_that_runs_unchanged(
    view: str, configs: list[str], example: str, local_hub: LocalHub, staged: Path
) -> None:
    # Over a push with another default: datasets refuses a repository that has two.
    push(staged, NAME, token=GOOD_TOKEN)
    push(staged, NAME, token=GOOD_TOKEN, view=view)
    card = DatasetCard(local_hub.state.repos[NAME].files["README.md"].decode())
    known = card.data.to_dict()["configs"]
    assert [config["config_name"] for config in known] == configs
    assert [config["config_name"] for config in known if config.get("default")] == [view]
    assert f"python {example} --dataset_name me/boats --output_dir out" in card.text
    assert f"| `{view}` (loaded where none is named) |" in card.text


def test_a_sample_of_a_dataset_with_another_default_is_reproduced(
    local_hub: LocalHub, staged: Path, cache_dir: str
) -> None:
    push(staged, NAME, token=GOOD_TOKEN, view="instance")
    sample_id = load_dataset(NAME, "semantic", split="train", cache_dir=cache_dir)["sample_id"][1]
    done = reproduce(sample_id, recipe=NAME)
    assert (done.compared, done.identical) == (True, True)


@pytest.mark.parametrize("view", ["instance", "detection"])
def test_a_folder_has_another_default(view: str, planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    generate(tmp_path / "ds", splits={"train": 3, "validation": 1}, view=view, **planted)
    generate(tmp_path / "plain", splits={"train": 3, "validation": 1}, **planted)
    shown = load_dataset(str(tmp_path / "ds"), cache_dir=cache_dir)
    assert {split: part.num_rows for split, part in shown.items()} == {"train": 3, "validation": 1}
    assert (
        shown["train"].column_names
        == {
            "instance": ["sample_id", "image", "annotation", "semantic_class_to_id"],
            "detection": ["image_id", "image", "width", "height", "objects"],
        }[view]
    )
    semantic = load_dataset(str(tmp_path / "ds"), "semantic", split="train", cache_dir=cache_dir)
    plain = load_dataset(str(tmp_path / "plain"), split="train", cache_dir=cache_dir)
    assert semantic.features == plain.features
    assert semantic["sample_id"][:] == plain["sample_id"][:]


def test_views_that_cannot_be(planted: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="view: expected one of default, instance, detection, got 'panoptic'"):
        generate(tmp_path / "ds", num_samples=1, view="panoptic", **planted)
    with pytest.raises(ExportError, match=r"view: expected one of .*, got 'instances' \(did you mean 'instance'\?\)"):
        push(tmp_path / "ds", NAME, token=GOOD_TOKEN, view="instances")
    with pytest.raises(RecipeError, match="a shard has no views: give the view to diffumask merge"):
        generate(tmp_path / "ds", num_samples=2, shard="0/2", view="instance", **planted)


def test_shards_are_merged_with_another_default(planted: dict[str, Any], tmp_path: Path) -> None:
    for shard in ("0/2", "1/2"):
        generate(tmp_path / shard[0], num_samples=4, shard=shard, **planted)
    merge([tmp_path / "0", tmp_path / "1"], tmp_path / "merged", view="instance")
    generate(tmp_path / "whole", num_samples=4, view="instance", **planted)
    assert tree(tmp_path / "merged") == tree(tmp_path / "whole")
