"""What all trainings share: learning rate, weight averaging, precision, checkpoints, log."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "Averaged",
    "append_log",
    "learning_rate",
    "load_checkpoint",
    "mixed_precision",
    "options_of",
    "save_checkpoint",
    "write_model",
]

logger = logging.getLogger(__name__)


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it: a CPU that merely emulates it takes more than twice as long."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def learning_rate(peak: float, *, step: int, steps: int, warm_up: int = 200, floor: float = 0.01) -> float:
    """Linear warm-up over ``warm_up`` steps, and a cosine over all ``steps`` down to ``floor * peak``."""
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return peak * decay * min((step + 1) / warm_up, 1.0)


class Averaged:
    """Exponential moving average of a module's weights; its memory grows with the steps seen up to ``decay``."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone().float() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves towards the module's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value.detach().float(), 1 - decay)
            else:
                self.values[name] = value.detach().clone()


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes ``content`` so that ``path`` is either the old or the new checkpoint, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint written by ``save_checkpoint``."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def append_log(path: Path, **figures: float | Tensor) -> None:
    """Appends one JSON line of figures to ``path``, and logs them."""
    plain = {name: float(value) if isinstance(value, Tensor) else value for name, value in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(plain) + "\n")
    logger.info("%s", " ".join(f"{name} {value:.5g}" for name, value in plain.items()))


def write_model(folder: Path, parts: Sequence[Any], facts: Mapping[str, Any]) -> None:
    """Replaces ``folder`` at once by what ``save_pretrained`` of each part writes, and ``training.json``, the facts."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part in parts:
        part.save_pretrained(partial)
    (partial / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def options_of(arguments: Sequence[str] | None, *, name: str, about: str | None, steps: int) -> argparse.Namespace:
    """``steps`` and ``output`` of the command of a training that has no other options; the log is shown from here on.

    Args:
        arguments: Default to the command line.
        name: The module that is run, without its package.
        about: What ``--help`` says.
        steps: The default.

    Returns:
        The options.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(prog=f"python -m examples.small_model.{name}", description=about)
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps, over which the learning rate decays")
    parser.add_argument("--output", type=Path, default=Path("build", name), help="folder of checkpoint, log and model")
    return parser.parse_args(arguments)
