"""Weights that do not fit a network are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel, SwinConfig, SwinModel

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.weights import fill, load_trunk, load_whole

CLIP = CLIPTextConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=16, projection_dim=8
)
BERT = BertConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=16)
SWIN = {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 4}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def changed(folder: Path, **weights: torch.Tensor | None) -> None:
    """Puts other weights into the saved model, None removes: names with ``__`` for dots."""
    file = folder / "model.safetensors"
    held = load_file(file)
    for name, weight in weights.items():
        (place,) = [key for key in held if key.endswith(name.replace("__", "."))]
        del held[place]
        if weight is not None:
            held[place] = weight
    save_file(held, file, metadata={"format": "pt"})


def test_all_weights_are_those_of_the_file(tmp_path: Path) -> None:
    saved = CLIPTextModel(CLIP)
    saved.save_pretrained(tmp_path)
    loaded = load_whole(CLIPTextModel, tmp_path, what="it").state_dict()
    assert loaded.keys() == saved.state_dict().keys()
    assert all(torch.equal(loaded[name], weight) for name, weight in saved.state_dict().items())


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        (None, r"1 missing \((text_model\.)?final_layer_norm\.weight\)"),
        (torch.zeros(3), r"1 of another shape \(.*weight\)"),
    ],
)
def test_a_weight_that_does_not_fit(tmp_path: Path, weight: torch.Tensor | None, problem: str) -> None:
    CLIPTextModel(CLIP).save_pretrained(tmp_path)
    changed(tmp_path, final_layer_norm__weight=weight)
    with pytest.raises(ModelError, match=f"^the weights do not fit the text encoder: {problem}; the file is damaged"):
        load_whole(CLIPTextModel, tmp_path, what="the text encoder")


def test_weights_under_other_names_are_counted(tmp_path: Path) -> None:
    CLIPTextModel(CLIP).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({f"other.{name}": weight for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"20 missing \(.*position_embedding\.weight, .* and 17 more\)"):
        load_whole(CLIPTextModel, tmp_path, what="it")


def test_a_damaged_file(tmp_path: Path) -> None:
    CLIPTextModel(CLIP).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ModelError, match="the weights of it are damaged, get them anew"):
        load_whole(CLIPTextModel, tmp_path, what="it")


def test_a_pooler_is_done_without_and_nothing_else(tmp_path: Path) -> None:
    BertModel(BERT, add_pooling_layer=False).save_pretrained(tmp_path)
    loaded = load_whole(BertModel, tmp_path, what="it")
    assert loaded.pooler is None
    assert loaded(torch.zeros(1, 2, dtype=torch.long)).pooler_output is None
    changed(tmp_path, intermediate__dense__bias=None)
    with pytest.raises(ModelError, match=r"1 missing \(encoder\.layer\.0\.intermediate\.dense\.bias\)"):
        load_whole(BertModel, tmp_path, what="it")


def test_a_trunk_may_have_new_norms_and_nothing_else(tmp_path: Path) -> None:
    saved, config = SwinModel(SwinConfig(**SWIN)), SwinConfig(**SWIN, out_indices=(1, 2))
    saved.save_pretrained(tmp_path)
    trunk = load_trunk(tmp_path, config, what="it")
    first = "embeddings.patch_embeddings.projection.weight"
    (taken,) = [weight for name, weight in trunk.state_dict().items() if name.endswith(first)]
    assert torch.equal(taken, saved.state_dict()[first])
    changed(tmp_path, patch_embeddings__projection__bias=None)
    with pytest.raises(ModelError, match=r"1 missing \((swin\.)?embeddings\.patch_embeddings\.projection\.bias\)"):
        load_trunk(tmp_path, config, what="it")


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"weight": torch.ones(2, 2)}, r"1 missing \(bias\)"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, r"1 of another shape \(weight\)"),
        (
            {"weight": torch.ones(2, 2), "bias": torch.ones(2), "other": torch.ones(1)},
            r"1 that it does not have \(other\)",
        ),
    ],
)
def test_a_network_is_filled_exactly(weights: dict[str, Any], problem: str) -> None:
    network = torch.nn.Linear(2, 2)
    before = network.weight.clone()
    with pytest.raises(ModelError, match=f"^the weights do not fit the net: {problem}"):
        fill(network, weights, what="the net")
    assert torch.equal(network.weight, before)
    fill(network, {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, what="the net")
    assert network.weight.tolist() == [[1, 1], [1, 1]]
