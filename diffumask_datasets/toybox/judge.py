"""The judge: what a network trained on exact masks sees in an image. It measures the shipped model and never trains it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.weights import fill
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS

__all__ = ["JUDGE_FILE", "Judge", "Opinion", "Verdict", "load_judge", "save_judge"]

JUDGE_FILE = Path(__file__).parent / "judge" / "judge.safetensors"
"""The shipped judge, float16."""

WIDTHS = (32, 64, 96, 128)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the image size."""

_BATCH = 16


@dataclass(frozen=True)
class Opinion:
    """Logits for a batch: ``pixels`` (N, 1 + classes, height, width); ``classes`` and ``colours`` (N, names), each name
    present or not; ``background`` (N, names), one of them."""

    pixels: Tensor
    classes: Tensor
    colours: Tensor
    background: Tensor

    def float(self) -> Opinion:
        """The same logits in float32."""
        return Opinion(self.pixels.float(), self.classes.float(), self.colours.float(), self.background.float())


@dataclass(frozen=True)
class Verdict:
    """What is in one image: the class and colour seen best, all classes seen, the background, and the semantic mask
    uint8 (height, width) with 0 background and 1..10 class ids."""

    best_class: str
    best_colour: str
    classes: frozenset[str]
    background: str
    label: NDArray[np.uint8]


class _Block(nn.Sequential):
    """Two convolutions, the first with ``stride``."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class _Merge(nn.Module):
    """The coarser features, brought up and added to the finer ones."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, fine, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(fine, fine, 3, 1, 1, bias=False), nn.BatchNorm2d(fine), nn.ReLU(inplace=True)
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Features of the shape of ``fine``."""
        raised = nn.functional.interpolate(self.narrow(coarse), size=fine.shape[-2:], mode="bilinear")
        mixed: Tensor = self.mix(raised + fine)
        return mixed


class Judge(nn.Module):
    """A small segmenter with heads for the whole image; takes RGB in [-1, 1], sides that are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.PixelUnshuffle(2)
        self.down = nn.ModuleList(
            [_Block(12, WIDTHS[0]), *(_Block(a, b, stride=2) for a, b in itertools.pairwise(WIDTHS))]
        )
        self.up = nn.ModuleList([_Merge(b, a) for a, b in itertools.pairwise(WIDTHS)])
        self.pixels = nn.Sequential(nn.Conv2d(WIDTHS[0], 4 * (1 + len(CLASS_NAMES)), 1), nn.PixelShuffle(2))
        self.whole = nn.Sequential(nn.Linear(2 * WIDTHS[-1], 128), nn.ReLU(), nn.Linear(128, sum(_HEADS)))

    def forward(self, images: Tensor) -> Opinion:
        """The opinion on images (N, 3, height, width)."""
        features = [self.stem(images)]
        for block in self.down:
            features.append(block(features[-1]))
        deepest = features[-1]
        merged = deepest
        for merge, fine in zip(reversed(self.up), reversed(features[1:-1]), strict=True):
            merged = merge(merged, fine)
        pooled = torch.cat([deepest.mean(dim=(2, 3)), deepest.amax(dim=(2, 3))], dim=1)
        classes, colours, background = self.whole(pooled).split(_HEADS, dim=1)
        return Opinion(self.pixels(merged), classes, colours, background)

    @torch.no_grad()
    def look(self, images: Sequence[NDArray[np.uint8]]) -> list[Verdict]:
        """A verdict on each image uint8 (height, width, 3), all of one size."""
        self.eval()
        verdicts = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.stack(images[start : start + _BATCH])).permute(0, 3, 1, 2)
            verdicts += _verdicts(self(batch.float() / 127.5 - 1))
        return verdicts


_HEADS = (len(CLASS_NAMES), len(COLOURS), len(BACKGROUNDS))


def _verdicts(opinion: Opinion) -> list[Verdict]:
    labels = opinion.pixels.argmax(dim=1).to(torch.uint8).numpy()
    colours = list(COLOURS)
    return [
        Verdict(
            best_class=CLASS_NAMES[int(opinion.classes[row].argmax())],
            best_colour=colours[int(opinion.colours[row].argmax())],
            classes=frozenset(
                name for name, logit in zip(CLASS_NAMES, opinion.classes[row].tolist(), strict=True) if logit > 0
            ),
            background=BACKGROUNDS[int(opinion.background[row].argmax())],
            label=label,
        )
        for row, label in enumerate(labels)
    ]


def save_judge(weights: dict[str, Tensor], path: Path) -> None:
    """Write the weights of a judge in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.half().contiguous() if value.is_floating_point() else value for name, value in weights.items()},
        path,
    )


def load_judge(path: Path = JUDGE_FILE) -> Judge:
    """The judge at ``path``, in float32.

    Raises:
        ModelError: there is none, or its weights are not a judge's.
    """
    if not path.exists():
        raise ModelError(
            f"no judge at {path}: install the package again, or train one with 'python -m examples.small_model.judging'"
        )
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"the judge at {path} is damaged, train it anew or install the package again: {error}"
        ) from error
    judge = Judge()
    fill(judge, weights, what=f"the judge at {path}")
    return judge.eval()
