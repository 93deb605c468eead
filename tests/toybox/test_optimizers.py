"""Muon steps the inner matrices, AdamW the rest, both on views of the same memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diffumask_datasets.toybox.optimizers import MatrixDescent, as_matrix, is_matrix
from diffumask_datasets.toybox.training import PooledGradients


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 8, 3)
        self.inner = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.linear = nn.Linear(8, 4)
        self.token_embedding = nn.Embedding(5, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("inner.weight", True), ("linear.weight", True), ("linear.bias", False), ("conv_in.weight", False)],
)
def test_matrices_are_the_inner_weights(name: str, expected: bool) -> None:
    assert is_matrix(name, dict(Net().named_parameters())[name]) is expected


def test_embeddings_are_no_matrices() -> None:
    assert not is_matrix("token_embedding.weight", Net().token_embedding.weight)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_on_the_same_memory(layout: torch.memory_format) -> None:
    weight = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2).contiguous(memory_format=layout)
    matrix = as_matrix(weight)
    assert matrix.shape == (2, 12)
    matrix.zero_()
    assert not weight.any()


def test_a_step_moves_every_parameter_against_its_gradient() -> None:
    torch.manual_seed(0)
    net = Net()
    gradients = PooledGradients(net.parameters())
    optimizer = MatrixDescent(net, gradients, matrix_share=2.0)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    gradients.clear()
    for parameter in net.parameters():
        assert parameter.grad is not None
        parameter.grad.copy_(torch.randn_like(parameter))
    optimizer.set_rate(0.01)
    optimizer.step()
    for name, value in net.named_parameters():
        assert value.grad is not None
        assert float(((value - before[name]) * value.grad).sum()) < 0, name


def test_state_is_taken_up() -> None:
    def stepped(
        steps: int, state: dict[str, object] | None = None, net: Net | None = None
    ) -> tuple[Net, MatrixDescent]:
        torch.manual_seed(0)
        net = net or Net()
        gradients = PooledGradients(net.parameters())
        optimizer = MatrixDescent(net, gradients, matrix_share=2.0)
        if state:
            optimizer.load_state_dict(state)
        optimizer.set_rate(0.01)
        for _ in range(steps):
            gradients.flat.fill_(0.5)
            optimizer.step()
        return net, optimizer

    whole, _ = stepped(2)
    half, optimizer = stepped(1)
    resumed, _ = stepped(1, optimizer.state_dict(), half)
    assert torch.equal(whole.inner.weight, resumed.inner.weight)
    assert torch.equal(whole.linear.bias, resumed.linear.bias)
