"""Families of models behind one loss and one score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Mask2FormerConfig,
    SwinBackbone,
    SwinConfig,
    SwinModel,
)

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError
from diffumask_datasets.segmentation.models import build_model, inputs_of, load_model, scores
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import train
from tests.segmentation.conftest import shapes, two_shapes
from tests.segmentation.test_training import Settings


@pytest.mark.parametrize("family", ["mask2former", "upernet"])
def test_a_pretrained_backbone_keeps_its_weights(tmp_path: Path, family: str) -> None:
    torch.manual_seed(0)
    config = SwinConfig(image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4)
    SwinModel(config).save_pretrained(tmp_path / "swin")
    small = {
        "mask2former": {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "num_queries": 4},
        "upernet": {"hidden_size": 8, "auxiliary_channels": 8},
    }
    small["mask2former"] |= {"encoder_layers": 1, "decoder_layers": 2, "encoder_feedforward_dim": 16}
    small["mask2former"] |= {"num_attention_heads": 2, "dim_feedforward": 16}
    model = build_model(f"{family}+{tmp_path / 'swin'}", ("background", "car"), options=small[family])
    weights = [
        tensor
        for network in (model, SwinBackbone.from_pretrained(tmp_path / "swin"))
        for name, tensor in network.state_dict().items()
        if name.endswith("patch_embeddings.projection.weight")
    ]
    assert len(weights) == 2
    assert torch.equal(*weights)
    score = scores(model.eval(), torch.zeros(1, 3, 64, 64))
    assert score.shape[:2] == (1, 2)


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("family", "head", "body"),
    [
        ("segformer", "decode_head.classifier", "segformer."),
        ("mask2former", "class_predictor", "model.transformer_module."),
        ("upernet", "decode_head.classifier", "backbone."),
    ],
)
def test_a_checkpoint_may_get_a_new_head_and_no_new_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, family: str, head: str, body: str
) -> None:
    torch.manual_seed(0)
    saved = build_model(f"{family}-small", ("background", "car"))
    saved.save_pretrained(tmp_path)
    weights = saved.state_dict()

    same = build_model(str(tmp_path), ("background", "boat"))
    assert caplog.messages == []
    assert all(torch.equal(weight, weights[name]) for name, weight in same.state_dict().items())

    other = build_model(str(tmp_path), ("background", "car", "boat"))
    changed = {name for name, weight in other.state_dict().items() if weight.shape != weights[name].shape}
    assert {f"{head}.weight", f"{head}.bias"} <= changed
    assert all(torch.equal(weight, weights[name]) for name, weight in other.state_dict().items() if name not in changed)
    (message,) = caplog.messages
    assert f": {len(changed)} weights of the head are new and start at random: " in message
    assert f"{head}.bias" in message

    _rewrite(tmp_path, lambda held: held.pop(min(name for name in held if name.startswith(body))))
    for use in (lambda: build_model(str(tmp_path), ("background", "dog", "boat")), lambda: load_model(str(tmp_path))):
        with pytest.raises(
            ModelError, match=rf"the weights do not fit the model '{tmp_path}': 1 missing \({body}[^,]+\); "
        ):
            use()


def test_a_trained_model_has_no_new_head(tmp_path: Path) -> None:
    build_model("segformer-small", ("background", "car")).save_pretrained(tmp_path)
    _rewrite(tmp_path, lambda held: held.pop("decode_head.classifier.bias"))
    with pytest.raises(ModelError, match=r"1 missing \(decode_head\.classifier\.bias\)"):
        load_model(str(tmp_path))
    _rewrite(tmp_path, lambda held: held.update({"decode_head.classifier.bias": torch.zeros(3)}))
    with pytest.raises(ModelError, match=r"1 of another shape \(decode_head\.classifier\.bias\)"):
        load_model(str(tmp_path))


def test_masks_for_each_class_that_is_there() -> None:
    labels = torch.tensor([[[0, 2], [255, 2]], [[255, 255], [255, 255]]])
    inputs = inputs_of("mask2former", torch.zeros(2, 3, 2, 2), labels)
    assert [classes.tolist() for classes in inputs["class_labels"]] == [[0, 2], []]
    assert inputs["mask_labels"][0].tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 1]]]
    assert inputs["mask_labels"][1].shape == (0, 2, 2)


def test_queries_vote_where_their_masks_lie() -> None:
    class Outputs:
        class_queries_logits = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]])  # two queries, two classes, no object
        masks_queries_logits = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])  # left, right

    class Model:
        config = Mask2FormerConfig()

        def __call__(self, pixel_values: torch.Tensor) -> Outputs:
            return Outputs()

    assert scores(Model(), torch.zeros(1, 3, 1, 2)).argmax(dim=1).tolist() == [[[0, 1]]]  # type: ignore[arg-type]


@pytest.mark.usefixtures("local_hub")
def test_a_model_that_segments_nothing(tmp_path: Path) -> None:
    SwinConfig().save_pretrained(tmp_path / "swin")
    for call in (load_model, lambda name: build_model(name, ("background",))):
        with pytest.raises(ModelError, match="is a swin, which segments nothing here; known families: beit"):
            call(str(tmp_path / "swin"))
    with pytest.raises(ModelError, match="no model 'nowhere/none'"):
        load_model("nowhere/none")


def tiny_mask2former(folder: Path) -> None:
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        train_num_points=64,
    )
    config.architectures = ["Mask2FormerForUniversalSegmentation"]
    config.save_pretrained(folder)


def test_mask2former_from_a_config(tiny: Settings, tmp_path: Path) -> None:
    tiny_mask2former(tmp_path / "config")
    rows = shapes(4)
    # A mask without a single known pixel must not stop it.
    unknown = rows.to_list()
    unknown[0]["label"] = png_cell(np.full((64, 64), 255, dtype=np.uint8))
    data = [labelled_of(datasets.Dataset.from_list(unknown, features=rows.features))]
    settings = tiny(model=str(tmp_path / "config"), from_scratch=True, model_options={}, steps=2)
    segmenter = train(settings, tmp_path / "model", data=data)
    (mask,) = segmenter.predict([two_shapes(5)[0]])
    assert mask.shape == (64, 64)
    assert set(np.unique(mask)) <= {0, 1, 2}
    assert Segmenter.load(tmp_path / "model").classes == ("background", "car", "boat")


def test_upernet_small_and_fine_tuning_with_other_classes(tiny: Settings, tmp_path: Path) -> None:
    settings = tiny(model="upernet-small", model_options={"hidden_size": 8}, steps=1, batch_size=2)
    train(settings, tmp_path / "upernet", data=[labelled_of(shapes(4))])
    again = tiny(model=str(tmp_path / "upernet"), model_options={}, steps=1, batch_size=2)
    data = [labelled_of(shapes(4)), labelled_of(shapes(4, classes=("dog", "cat")))]
    sources = ({"dataset": "one"}, {"dataset": "two"})
    segmenter = train(again.model_copy(update={"sources": tiny(sources=sources).sources}), tmp_path / "more", data=data)
    assert segmenter.classes == ("background", "car", "boat", "dog", "cat")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "segformer-smal", "model_options": {}},
            r"no model 'segformer-smal' \(did you mean 'segformer-small'",
        ),
        ({"model_options": {"hidden_size": [8]}}, r"its config has no 'hidden_size' \(did you mean 'hidden_sizes'"),
        ({"model_options": {"depths": [1]}}, "cannot build the model 'segformer-small': list index out of range"),
        ({"model": "segformer+x", "model_options": {}}, "only mask2former, upernet take a backbone"),
        ({"model": "upernet+./none", "model_options": {}}, r"no backbone './none' with four stages"),
    ],
)
@pytest.mark.usefixtures("local_hub")
def test_models_that_cannot_be(tiny: Settings, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        train(tiny(**changes), tmp_path / "model", data=[labelled_of(shapes(4))])
