"""Muon steps the inner matrices, AdamW the rest, both on views of the same memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from examples.small_model.optimizers import MatrixDescent, as_matrix, is_matrix, orthogonal


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 8, 3)
        self.inner = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.linear = nn.Linear(8, 4)
        self.token_embedding = nn.Embedding(5, 4)

    def loss(self) -> torch.Tensor:
        return sum(((index + 1) * weight).sum() for index, weight in enumerate(self.parameters()))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inner.weight", True),
        ("linear.weight", True),
        ("linear.bias", False),
        ("conv_in.weight", False),
        ("token_embedding.weight", False),
    ],
)
def test_matrices_are_the_inner_weights(name: str, expected: bool) -> None:
    assert is_matrix(name, dict(Net().named_parameters())[name]) is expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_on_the_same_memory(layout: torch.memory_format) -> None:
    weight = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2).contiguous(memory_format=layout)
    matrix = as_matrix(weight)
    assert matrix.shape == (2, 12)
    matrix.zero_()
    assert not weight.any()


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_an_orthogonal_matrix_has_the_same_directions_and_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.T @ orthogonal(matrix) @ right.T
    assert torch.diagonal(values).sub(1).abs().max() < 0.4
    assert (values - torch.diag(torch.diagonal(values))).abs().max() < 1e-4


def test_a_step_moves_every_weight_against_its_gradient() -> None:
    torch.manual_seed(0)
    net = Net()
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    MatrixDescent(net).descend(net.loss(), 0.01)
    for name, value in net.named_parameters():
        assert value.grad is not None
        assert float(((value - before[name]) * value.grad).sum()) < 0, name


def test_frozen_weights_stay() -> None:
    net = Net()
    net.linear.requires_grad_(False)
    before = net.linear.weight.clone()
    MatrixDescent(net).descend(net.loss(), 0.01)
    assert torch.equal(net.linear.weight, before)
