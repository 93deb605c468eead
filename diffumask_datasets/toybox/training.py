"""What both training runs share: processes, time budget, learning rate, weight averaging, checkpoints, log."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

logger = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
"""The shipped model."""


@dataclass(frozen=True)
class Team:
    """This process among its fellows: ``rank`` of ``size`` processes, on ``device``."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints, sheets and log lines."""
        return self.rank == 0

    def average(self, gradients: Tensor) -> None:
        """Replace ``gradients`` by their mean over the processes, in one exchange."""
        if self.size > 1:
            dist.all_reduce(gradients)
            gradients /= self.size

    def agree(self, value: float) -> float:
        """The leader's ``value``, in every process (clocks differ, loops must not)."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(box, 0)
        return float(box.item())


class Optimizer(Protocol):
    """What steps down the pooled gradients."""

    def step(self) -> Any:
        """One step."""


class PooledGradients:
    """The gradients of many parameters as views of one flat tensor: exchanged, clipped and cleared without a copy."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self.flat = torch.zeros(sum(p.numel() for p in self._parameters), device=self._parameters[0].device)
        self.clear()

    def clear(self) -> None:
        """Set every gradient to zero."""
        self.flat.zero_()
        start = 0
        for parameter in self._parameters:
            # The parameter's own strides: a gradient in another memory layout is copied at every step.
            parameter.grad = self.flat.as_strided(parameter.shape, parameter.stride(), start)
            start += parameter.numel()

    def clip(self, most: float) -> None:
        """Scale all gradients so that their joint norm is at most ``most``."""
        self.flat.mul_((most / (self.flat.norm() + 1e-6)).clamp(max=1.0))


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it (without support a CPU is three times slower with it)."""
    fast = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def descend(loss: Tensor, team: Team, gradients: PooledGradients, optimizer: Optimizer) -> None:
    """One optimizer step down ``loss``, the gradients averaged over the team and clipped to norm 1."""
    gradients.clear()
    loss.backward()
    team.average(gradients.flat)
    gradients.clip(1.0)
    optimizer.step()


def _run_rank(rank: int, work: Callable[..., None], size: int, store: str, arguments: tuple[Any, ...]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    finally:
        dist.destroy_process_group()


def run_team(work: Callable[..., None], processes: int, output: Path, *arguments: Any) -> None:
    """Run ``work(team, *arguments)`` on one GPU if there is one, else in ``processes`` single-thread processes.

    Two threads of one process slow each other down badly as soon as anything else runs; two processes do not.
    """
    if torch.cuda.is_available():
        work(Team(device=torch.device("cuda")), *arguments)
        return
    if processes == 1:
        torch.set_num_threads(1)
        work(Team(), *arguments)
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    store = output / f".rendezvous-{os.getpid()}"
    store.unlink(missing_ok=True)
    try:
        spawn(_run_rank, (work, processes, str(store.resolve()), arguments), nprocs=processes)
    finally:
        store.unlink(missing_ok=True)


@dataclass
class Budget:
    """Wall-clock budget of a run: schedules follow ``share``, so a run always ends with a decayed learning rate."""

    minutes: float
    spent_s: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Seconds spent, earlier runs that this one resumes included."""
        return self.spent_s + time.monotonic() - self.started

    @property
    def share(self) -> float:
        """Elapsed part of the budget in [0, 1]."""
        return min(self.elapsed_s / (self.minutes * 60), 1.0)


def learning_rate(peak: float, *, step: int, share: float, warm_up: int = 200, floor: float = 0.01) -> float:
    """Linear warm-up over ``warm_up`` steps, then a cosine over the budget's ``share`` down to ``floor * peak``."""
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
    return peak * decay * min((step + 1) / warm_up, 1.0)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set ``rate`` in every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Averaged:
    """Exponential moving average of named tensors; its memory grows with the steps seen up to ``decay``."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone().float() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach().float(), 1 - decay)
            else:
                self.values[name] = value.detach().clone()

    def state(self) -> dict[str, Tensor]:
        """The averaged weights, by parameter name."""
        return self.values


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` so that ``path`` is either the old or the new checkpoint, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint written by ``save_checkpoint``."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def append_log(path: Path, **figures: float) -> None:
    """Append one JSON line of figures to ``path`` and say them in the log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(figures) + "\n")
    logger.info("%s", " ".join(f"{name} {value:.5g}" for name, value in figures.items()))
