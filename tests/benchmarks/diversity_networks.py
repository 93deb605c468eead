"""Two small networks for the benchmark of diversity: a judge of backgrounds and colours, and a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from diffumask_datasets.augmentation.scene import Scene
from diffumask_datasets.toybox.scene import Demand, render_scene
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS, class_id

SIDE = 64
"""Pixels a side of what the networks see: images of the toybox at half their size."""

Judge = Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""Pictures → their backgrounds and colours, by number."""


def trained_judge(*, scenes: int, steps: int) -> Judge:
    """A classifier of background and colour, trained on drawn scenes of one object."""
    drawn = [render_scene(seed, demand=Demand(count=1)) for seed in range(scenes)]
    images = _images([scene.image for scene in drawn])
    grounds = torch.tensor([BACKGROUNDS.index(scene.background) for scene in drawn])
    colours = torch.tensor([list(COLOURS).index(scene.objects[0].colour) for scene in drawn])
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 64), (64, 64)):
        parts += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    network = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64 * (SIDE // 16) ** 2, len(BACKGROUNDS) + len(COLOURS)))

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        scores = network(images[chosen])
        ground = nn.functional.cross_entropy(scores[:, : len(BACKGROUNDS)], grounds[chosen])
        return ground + nn.functional.cross_entropy(scores[:, len(BACKGROUNDS) :], colours[chosen])

    _train(network, loss, count=len(drawn), batch=32, steps=steps)

    def judge(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            scores = network(_images(pictures))
        return scores[:, : len(BACKGROUNDS)].argmax(1).numpy(), scores[:, len(BACKGROUNDS) :].argmax(1).numpy()

    return judge


def segmenter_miou(scenes: Sequence[Scene], held_out: Sequence[Any], *, steps: int, seed: int) -> float:
    """mIoU over the classes on drawn scenes, of a segmenter trained on ``scenes``, however many, for so many steps."""
    images, labels = _images([scene.image for scene in scenes]), _labels([scene.label for scene in scenes])
    torch.manual_seed(seed)
    network = _Segmenter(len(CLASS_NAMES) + 1)

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(images[chosen]), labels[chosen], ignore_index=255)

    _train(network, loss, count=len(scenes), batch=8, steps=steps)
    with torch.no_grad():
        found = network(_images([scene.image for scene in held_out])).argmax(1)
    return _miou(found, _labels([_class_mask(scene) for scene in held_out]))


class _Segmenter(nn.Module):
    """Three scales down and up again from half the size, with the finer features beside the coarser ones."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.down = nn.ModuleList([_convolutions(12, 12), _convolutions(12, 24), _convolutions(24, 48)])
        self.up = nn.ModuleList([_convolutions(48 + 24, 24), _convolutions(24 + 12, 12)])
        self.head = nn.Conv2d(12, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fine = self.down[0](self.stem(images))
        middle = self.down[1](nn.functional.max_pool2d(fine, 2))
        features = self.down[2](nn.functional.max_pool2d(middle, 2))
        for layer, finer in zip(self.up, (middle, fine), strict=True):
            features = layer(torch.cat([nn.functional.interpolate(features, scale_factor=2), finer], dim=1))
        return nn.functional.interpolate(self.head(features), scale_factor=2, mode="bilinear")


def _convolutions(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count in (inside, outside):
        layers += [nn.Conv2d(count, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers)


def _train(
    network: nn.Module, loss: Callable[[torch.Tensor], torch.Tensor], *, count: int, batch: int, steps: int
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    # So few steps end well only where the last ones are small.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(torch.randint(count, (batch,))).backward()
        optimizer.step()
        schedule.step()
    network.eval()


def _miou(found: torch.Tensor, truth: torch.Tensor) -> float:
    ious = []
    for value in range(1, len(CLASS_NAMES) + 1):
        both, either = ((found == value) & (truth == value)).sum(), ((found == value) | (truth == value)).sum()
        ious.append(float(both / either.clamp(min=1)))
    return float(np.mean(ious))


def _class_mask(scene: Any) -> np.ndarray:
    numbers = np.zeros(256, np.uint8)
    for item in scene.objects:
        numbers[item.instance_id] = class_id(item.class_name)
    return numbers[scene.instances]


def _images(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1  # (images, 3, height, width)
    return nn.functional.interpolate(tensor, size=(SIDE, SIDE), mode="area")


def _labels(masks: Sequence[np.ndarray]) -> torch.Tensor:
    tensor = torch.from_numpy(np.stack(masks)).float()[:, None]  # (images, 1, height, width)
    return nn.functional.interpolate(tensor, size=(SIDE, SIDE), mode="nearest")[:, 0].long()
