"""The optimizer of denoiser and judge: Muon for matrices, AdamW for everything else, behind one small face."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffumask_datasets.toybox.training import PooledGradients

ENDS = ("conv_in.", "conv_out.", "embedding", "time_emb_proj")
"""Parts of a name whose weights stay with AdamW: where values enter and leave the net."""


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon takes this parameter: the inner linear and convolution weights."""
    return parameter.ndim >= 2 and not any(part in name for part in ENDS)


def as_matrix(values: Tensor) -> Tensor:
    """A weight (out, in) or (out, in, height, width) as a matrix (out, rest) on the same memory."""
    if values.ndim == 2:
        return values
    by_row = values.permute(0, 2, 3, 1) if values.is_contiguous(memory_format=torch.channels_last) else values
    return by_row.view(len(values), -1)


class MatrixDescent:
    """Muon (Jordan et al. 2024) for the matrices of ``module``, AdamW for its vectors, embeddings and ends.

    ``gradients`` must pool the gradients of all parameters of ``module``: both optimizers read views of it.
    """

    def __init__(self, module: nn.Module, gradients: PooledGradients, *, matrix_share: float) -> None:
        gradients.clear()
        self.matrix_share = matrix_share
        matrices, others = [], []
        for name, parameter in module.named_parameters():
            if is_matrix(name, parameter):
                matrix = nn.Parameter(as_matrix(parameter.data))
                assert parameter.grad is not None
                matrix.grad = as_matrix(parameter.grad)
                matrices.append(matrix)
            else:
                others.append(parameter)
        self._others = torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self._matrices = torch.optim.Muon(matrices, lr=0.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next steps; matrices take ``matrix_share`` times as much."""
        for optimizer, share in ((self._others, 1.0), (self._matrices, self.matrix_share)):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def step(self) -> None:
        """One step down the pooled gradients."""
        self._others.step()
        self._matrices.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimizers' states."""
        return {"others": self._others.state_dict(), "matrices": self._matrices.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a ``state_dict``."""
        self._others.load_state_dict(state["others"])
        self._matrices.load_state_dict(state["matrices"])
