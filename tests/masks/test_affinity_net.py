"""AffinityNet on drawn pictures: what it learns, what the walk does with it, how it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetModel

from diffumask_datasets.errors import ModelError, RecipeError, ShapeError
from diffumask_datasets.masks.affinity_net import (
    AffinityNet,
    AffinityNetSettings,
    load_affinity_net,
    net_input,
    pair_loss,
    read_facts,
    save_affinity_net,
    spread_heat,
)
from diffumask_datasets.masks.affinity_seeds import make_seeds
from diffumask_datasets.masks.affinity_training import AffinityTraining, make_examples, train_affinity_net
from diffumask_datasets.masks.random_walk import neighbour_offsets, random_walk, shifted

SMALL = AffinityNetSettings(channels=4, input_side=96)


def picture(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """A red block on blue, 48x72, somewhere else for each seed."""
    rng = np.random.default_rng(seed)
    top, left = int(rng.integers(4, 16)), int(rng.integers(4, 32))
    mask = np.zeros((48, 72), bool)
    mask[top : top + 24, left : left + 30] = True
    noise = rng.integers(0, 16, (48, 72, 3))
    return (np.where(mask[..., None], (190, 40, 30), (40, 110, 190)) + noise).astype(np.uint8), mask


def faint_heat(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Hot in the left half of the object, lukewarm in the right one, cold outside."""
    columns = np.flatnonzero(mask.any(axis=0))
    heat = np.where(mask, 0.5, 0.05).astype(np.float32)
    heat[:, : int(columns.mean())][mask[:, : int(columns.mean())]] = 1.0
    return heat[None]


def test_offsets_are_half_of_a_disc() -> None:
    assert neighbour_offsets(2) == [(0, 1), (1, -1), (1, 0), (1, 1)]
    assert len(neighbour_offsets(5)) == 34


def test_shifted_lays_each_pixel_on_its_neighbour() -> None:
    numbers = np.arange(12).reshape(3, 4)
    first, second = shifted(3, 4, (1, -1))
    assert numbers[first].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert numbers[second].tolist() == [[4, 5, 6], [8, 9, 10]]


def test_the_walk_fills_what_belongs_together() -> None:
    region = np.zeros((6, 8), bool)
    region[1:5, 2:7] = True
    affinities = {}
    for offset in neighbour_offsets(3):
        one, other = shifted(6, 8, offset)
        affinities[offset] = (region[one] == region[other]).astype(np.float32)
    heat = np.zeros((1, 6, 8), np.float32)
    heat[0, 2, 3] = 1.0
    walked = random_walk(heat, affinities)
    np.testing.assert_allclose(walked[0], region, atol=1e-3)
    with pytest.raises(ShapeError, match=r"affinity at \(0, 1\): expected \(6, 7\), got \(2, 2\) on a 6x8 grid"):
        random_walk(heat, {(0, 1): np.ones((2, 2), np.float32)})


def test_one_step_by_hand() -> None:
    affinities = {(0, 1): np.array([[0.5, 1.0]], np.float32)}
    heat = np.array([[[1.0, 0.0, 0.0]]], np.float32)
    # transition rows: [1, .5] / 1.5, [.5, 1, 1] / 2.5, [1, 1] / 2; two steps, then the maximum is 1
    step = np.array([[1, 0.5, 0], [0.5, 1, 1], [0, 1, 1]])
    step /= step.sum(axis=1, keepdims=True)
    expected = step @ step @ heat[0, 0]
    walked = random_walk(heat, affinities, beta=1.0, log_steps=1)
    np.testing.assert_allclose(walked[0, 0], expected / expected.max(), rtol=1e-6)


def test_the_loss_by_hand() -> None:
    features = torch.tensor([[[[0.0, 1.0, 3.0]]]])  # distances 1 and 2 side by side, 3 two apart
    seeds = torch.tensor([[[0, 0, 1]]], dtype=torch.uint8)
    apart = -torch.log1p(1e-5 - torch.exp(torch.tensor([-2.0])))
    torch.testing.assert_close(pair_loss(features, seeds, radius=2), (0.25 * 1.0 + 0.5 * apart).squeeze())
    unknown = torch.tensor([[[0, 255, 255]]], dtype=torch.uint8)
    assert float(pair_loss(features, unknown, radius=2)) == 0.0


def test_seeds_are_sure_and_leave_the_rest_open() -> None:
    image, mask = picture(0)
    seeds = make_seeds(image, faint_heat(mask))
    assert set(np.unique(seeds)) <= {0, 1, 255}
    assert mask[seeds == 1].mean() > 0.97
    assert (~mask[seeds == 0]).mean() > 0.97
    assert (seeds == 1).sum() > 100


def test_training_learns_the_edge_and_the_walk_follows_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pictures = [picture(seed) for seed in range(8)]
    examples = list(make_examples(((image, faint_heat(mask)) for image, mask in pictures), input_side=SMALL.input_side))
    assert len(examples) == 8
    net = AffinityNet.fresh(SMALL)
    heard: list[int] = []
    losses = train_affinity_net(
        net,
        examples,
        AffinityTraining(epochs=12, batch_size=4, learning_rate=5e-3),
        progress=lambda epoch, loss: heard.append(epoch),
    )
    assert heard == list(range(1, 13))
    assert losses[-1] < 0.5 * losses[0]
    image, mask = picture(100)
    walked = spread_heat(net, image, faint_heat(mask))
    assert (walked.dtype, walked.shape) == (np.float32, (1, 48, 72))
    found = walked[0] > 0.45
    assert np.count_nonzero(found & mask) / np.count_nonzero(found | mask) > 0.85
    path = tmp_path / "nets" / "net.safetensors"
    save_affinity_net(net, path, facts={"trained_on": "pictures"})
    assert read_facts(path)["trained_on"] == "pictures"
    again = load_affinity_net(path)
    assert again.settings == SMALL
    np.testing.assert_array_equal(spread_heat(again, image, faint_heat(mask)), walked)
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]


def test_inputs_keep_their_shape_and_fit_the_strides() -> None:
    assert net_input(np.zeros((100, 400, 3), np.uint8), 256).shape == (3, 128, 512)
    assert net_input(np.zeros((2, 2000, 3), np.uint8), 64).shape[1] == 32


def test_what_cannot_be_trained_or_read(tmp_path: Path) -> None:
    image, _ = picture(0)
    flat = list(make_examples([(image, np.full((1, 48, 72), 0.5, np.float32))], input_side=96))
    with pytest.raises(RecipeError, match="nothing to train the affinity net on"):
        train_affinity_net(AffinityNet.fresh(SMALL), flat)
    with pytest.raises(RecipeError, match="must be positive"):
        AffinityTraining(epochs=0)
    with pytest.raises(ModelError, match=r"cannot read the affinity net .*; make one with diffumask train-affinity"):
        load_affinity_net(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"other\.safetensors is no affinity net"):
        load_affinity_net(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="cannot load the backbone"):
        AffinityNet.fresh(AffinityNetSettings(backbone=str(tmp_path)))


def test_weights_that_are_not_those_of_the_net(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_affinity_net(AffinityNet.fresh(SMALL), path)
    weights, facts = load_file(path), read_facts(path)
    weights["mixed.bias"] = weights.pop("mix.bias")
    save_file(weights, path, metadata=facts)
    with pytest.raises(
        ModelError, match=r"fit the affinity net .*: 1 missing \(mix\.bias\), 1 that it does not have \(mixed\.bias\)"
    ):
        load_affinity_net(path)
    save_file(weights, path, metadata=facts | {"settings": "[]"})
    with pytest.raises(ModelError, match=r"net\.safetensors is no affinity net: "):
        load_affinity_net(path)


def test_a_pretrained_backbone_has_its_own_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8], depths=[1, 1, 1], layer_type="basic")
    saved = ResNetModel(config)
    saved.save_pretrained(tmp_path)
    net = AffinityNet.fresh(AffinityNetSettings(backbone=str(tmp_path)))
    weights = net.backbone.state_dict()
    assert weights.keys() == saved.state_dict().keys()
    assert all(torch.equal(weights[name], weight) for name, weight in saved.state_dict().items())
    file = tmp_path / "model.safetensors"
    held = load_file(file)
    del held["embedder.embedder.convolution.weight"]
    save_file(held, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"fit the backbone .*: 1 missing \(embedder\.embedder\.convolution\.weight\)"):
        AffinityNet.fresh(AffinityNetSettings(backbone=str(tmp_path)))
