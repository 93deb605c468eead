"""A pushed dataset, read as the training examples of transformers read theirs: no step between."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import hf_hub_download

from diffumask_datasets import generate, push
from tests.hub_server import GOOD_TOKEN, LocalHub

NAME = "me/boats"


@pytest.fixture
def pushed(local_hub: LocalHub, planted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fields = {**planted, "classes_per_image": 2}
    generate(tmp_path / "ds", splits={"train": 3, "validation": 1}, **fields)
    push(tmp_path / "ds", NAME, token=GOOD_TOKEN)
    return NAME


def test_semantic_segmentation(pushed: str, cache_dir: str) -> None:
    from transformers import SegformerImageProcessor

    dataset = load_dataset(pushed, cache_dir=cache_dir)
    names = json.loads(Path(hf_hub_download(pushed, "id2label.json", repo_type="dataset")).read_text())
    id2label = {int(number): name for number, name in names.items()}
    assert id2label == {0: "background", 1: "car", 2: "potted plant", 3: "boat"}
    processor = SegformerImageProcessor(do_resize=False, do_reduce_labels=False)
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
