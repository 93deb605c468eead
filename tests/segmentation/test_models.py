"""Families of models behind one loss and one score."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerConfig, SwinBackbone, SwinConfig, SwinModel

from diffumask_datasets.errors import ModelError
from diffumask_datasets.segmentation.models import build_model, inputs_of, load_model, scores


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


def test_a_model_that_segments_nothing(tmp_path: Path) -> None:
    SwinConfig().save_pretrained(tmp_path / "swin")
    for call in (load_model, lambda name: build_model(name, ("background",))):
        with pytest.raises(ModelError, match="is a swin, which segments nothing here; known families: beit"):
            call(str(tmp_path / "swin"))
    with pytest.raises(ModelError, match="no model 'nowhere/none'"):
        load_model("nowhere/none")
