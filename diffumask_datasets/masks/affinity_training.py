"""Training an AffinityNet on images and the heat maps of their classes; no ground truth is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.masks.affinity_net import STRIDE, AffinityNet, net_input, pair_loss
from diffumask_datasets.masks.affinity_seeds import make_seeds

__all__ = ["AffinityTraining", "Example", "make_examples", "train_affinity_net"]


@dataclass(frozen=True, slots=True)
class AffinityTraining:
    """How long and how fast. ``epochs`` over all examples, AdamW at ``learning_rate`` decaying to 0, from ``seed``."""

    epochs: int = 8
    batch_size: int = 8
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise RecipeError(f"epochs, batch size and learning rate must be positive, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """The net's input (3, height, width) as float16, and seeds uint8 on its grid (height / 4, width / 4)."""

    pixels: torch.Tensor
    seeds: torch.Tensor


def make_examples(
    pictures: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]], *, input_side: int
) -> Iterator[Example]:
    """Examples of (image uint8 (height, width, 3), heat maps float32 (classes, height, width)).

    A picture whose seeds show only background, or none at all, teaches nothing and is left out.
    """
    for image, heat_maps in pictures:
        pixels = net_input(image, input_side)
        size = (pixels.shape[1] // STRIDE, pixels.shape[2] // STRIDE)
        seeds = torch.from_numpy(make_seeds(image, heat_maps))
        on_grid = F.interpolate(seeds[None, None].float(), size=size, mode="nearest-exact")[0, 0].to(torch.uint8)
        if len(set(on_grid.unique().tolist()) - {255}) > 1:
            yield Example(pixels.half(), on_grid)


def train_affinity_net(
    net: AffinityNet,
    examples: list[Example],
    training: AffinityTraining = AffinityTraining(),
    *,
    progress: Callable[[int, float], None] = lambda epoch, loss: None,
) -> list[float]:
    """Trains a net in place.

    Examples of one size share batches. The same examples, settings and thread count give the same weights on a CPU.

    Args:
        net: The net.
        examples: What it learns from.
        training: How it is trained.
        progress: Called with the number and the mean loss of each epoch.

    Returns:
        The mean loss of each epoch.

    Raises:
        RecipeError: No example.
        ModelError: The loss is NaN.
    """
    if not examples:
        raise RecipeError("no image whose heat maps tell object from background: nothing to train the affinity net on")
    torch.manual_seed(training.seed)
    order = np.random.default_rng(training.seed)
    batches = _batches(examples, training.batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), lr=training.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=training.epochs * len(batches))
    net.train()
    losses = []
    for epoch in range(training.epochs):
        batches = _batches([examples[i] for i in order.permutation(len(examples))], training.batch_size)
        total = 0.0
        for batch in batches:
            loss = pair_loss(
                net(torch.stack([one.pixels for one in batch]).float()),
                torch.stack([one.seeds for one in batch]),
                radius=net.settings.radius,
            )
            if not torch.isfinite(loss):
                raise ModelError(f"the affinity net's loss is NaN in epoch {epoch + 1}; lower the learning rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / len(batches))
        progress(epoch + 1, losses[-1])
    net.eval()
    return losses


def _batches(examples: list[Example], size: int) -> list[list[Example]]:
    """Batches of examples of one shape, in the order given."""
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(tuple(example.pixels.shape), []).append(example)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]
