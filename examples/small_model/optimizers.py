"""Muon for the weight matrices inside a network, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MatrixDescent", "Muon", "as_matrix", "is_matrix", "orthogonal"]

ENDS = (
    *("conv_in.", "conv_out.", "embed", "time_emb_proj"),
    *("norm1.linear", "norm1_context", "norm_out", "transformer.proj_out"),
)
"""Parts of a name whose weights stay with AdamW: where values enter and leave the network, and where time modulates it."""


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon takes this parameter: the inner linear and convolution weights."""
    return parameter.ndim >= 2 and not any(part in name for part in ENDS)


def as_matrix(values: Tensor) -> Tensor:
    """A weight (out, in) or (out, in, height, width) as a matrix (out, rest) on the same memory."""
    if values.ndim == 2:
        return values
    by_row = values.permute(0, 2, 3, 1) if values.is_contiguous(memory_format=torch.channels_last) else values
    return by_row.view(len(values), -1)


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal (Jordan et al. 2024), for matrices; steps as large as AdamW's (Liu et al. 2025).

    Torch's own computes in bfloat16, which takes five times as long on a CPU that has no such arithmetic.
    """

    def __init__(self, matrices: list[nn.Parameter], *, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(matrices, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(matrix)
                average = state["momentum"]
                average.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(average, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(update, alpha=group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the nearest matrix with singular values of 1, by five Newton-Schulz iterations.

    They run on its small Gram matrix, which takes a third of the time where one side is much longer than the other.
    """
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram, one = wide @ wide.T, torch.eye(len(wide), device=wide.device)
    product = one
    for _ in range(5):
        factor = 3.4445 * one - 4.7750 * gram + 2.0315 * gram @ gram
        product, gram = factor @ product, factor @ gram @ factor
    wide = product @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class MatrixDescent:
    """Muon for the matrices of ``module`` that are trained, AdamW for its other weights."""

    def __init__(self, module: nn.Module, *, matrix_share: float = 2.0) -> None:
        self.matrix_share = matrix_share
        named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        self._parameters = [weight for _, weight in named]
        # Matrices are other views of the weights' memory: a step moves the weights.
        self._views = [
            (weight, nn.Parameter(as_matrix(weight.data))) for name, weight in named if is_matrix(name, weight)
        ]
        others = [weight for name, weight in named if not is_matrix(name, weight)]
        self._others = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        matrices = [matrix for _, matrix in self._views]
        self._matrices = Muon(matrices)

    def descend(self, loss: Tensor, rate: float) -> None:
        """One step down ``loss`` at the learning ``rate`` (matrices: ``matrix_share`` times it), gradients clipped to 1."""
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for weight, matrix in self._views:
            assert weight.grad is not None
            matrix.grad = as_matrix(weight.grad)
        for optimizer, share in ((self._others, 1.0), (self._matrices, self.matrix_share)):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimizers' states."""
        return {"others": self._others.state_dict(), "matrices": self._matrices.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a ``state_dict``."""
        self._others.load_state_dict(state["others"])
        self._matrices.load_state_dict(state["matrices"])
