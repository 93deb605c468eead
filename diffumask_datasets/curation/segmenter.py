"""The segmenter that is asked for a second opinion: any semantic-segmentation model of transformers, or a small one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.sample import IGNORE

__all__ = ["SegmenterSettings", "fit_segmenter", "predict_labels"]

Images = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """``model`` is a transformers checkpoint, None for a small UperNet from scratch; images are seen at ``side`` squared."""

    model: str | None = None
    side: int = 128
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 32 or self.epochs < 1 or self.batch_size < 2 or not self.learning_rate > 0:
            raise RecipeError(
                f"segmenter: side is a multiple of 32, batches hold 2 or more, the rest is positive: {self}"
            )


def fit_segmenter(images: Images, labels: Images, *, classes: int, settings: SegmenterSettings) -> nn.Module:
    """A segmenter trained on images uint8 (height, width, 3) and masks uint8 (height, width); 255 is not learned from.

    The same input gives the same weights on one CPU thread.

    Raises:
        RecipeError: fewer than two images.
        ModelError: the checkpoint cannot be loaded, or the loss is NaN.
    """
    if len(images) < 2:
        raise RecipeError(f"a segmenter needs at least two images to learn from, got {len(images)}")
    torch.manual_seed(settings.seed)
    model = _fresh(1 + classes, settings)
    pixels = torch.stack([_pixels(image, settings.side) for image in images])
    targets = torch.stack([_target(label, settings.side) for label in labels])
    rate = settings.learning_rate if settings.model is None else settings.learning_rate / 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    steps = settings.epochs * (-(-len(images) // settings.batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps + 1)
    order = np.random.default_rng(settings.seed)
    model.train()
    for _ in range(settings.epochs):
        for rows in _batches(order.permutation(len(images)), settings.batch_size):
            batch, wanted = pixels[rows].float(), targets[rows].long()
            if order.random() < 0.5:
                batch, wanted = batch.flip(3), wanted.flip(2)
            loss = F.cross_entropy(_logits(model, batch), wanted, ignore_index=IGNORE)
            if not torch.isfinite(loss):
                raise ModelError("the segmenter's loss is NaN; lower its learning rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predict_labels(model: nn.Module, image: npt.NDArray[np.uint8], *, side: int) -> npt.NDArray[np.uint8]:
    """The mask that a segmenter sees in an image, uint8 of the image's height and width."""
    logits = _logits(model, _pixels(image, side)[None].float())
    sized = F.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
    return np.asarray(sized[0].argmax(dim=0).to(torch.uint8).numpy())


def _fresh(labels: int, settings: SegmenterSettings) -> nn.Module:
    from transformers import AutoModelForSemanticSegmentation, ResNetConfig, UperNetConfig
    from transformers import UperNetForSemanticSegmentation as UperNet

    if settings.model is None:
        stages = ["stage1", "stage2", "stage3", "stage4"]
        backbone = ResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 96, 128],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=stages,
        )
        config = UperNetConfig(
            backbone_config=backbone, hidden_size=64, pool_scales=[1, 2], use_auxiliary_head=False, num_labels=labels
        )
        small: nn.Module = UperNet(config)
        return small
    try:
        loaded: nn.Module = AutoModelForSemanticSegmentation.from_pretrained(
            settings.model, num_labels=labels, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"cannot load the segmenter {settings.model!r}: {reason}") from error
    return loaded


def _logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits (batch, labels, side, side)."""
    logits = model(pixel_values=pixels).logits
    return F.interpolate(logits, size=pixels.shape[2:], mode="bilinear", align_corners=False)


def _pixels(image: npt.NDArray[np.uint8], side: int) -> torch.Tensor:
    """(3, side, side) float16, ImageNet's mean and deviation taken out."""
    scaled = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    resized = F.interpolate(scaled, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((resized - mean[:, None, None]) / deviation[:, None, None]).half()


def _target(label: npt.NDArray[np.uint8], side: int) -> torch.Tensor:
    whole = torch.from_numpy(np.array(label))[None, None].float()
    return F.interpolate(whole, size=(side, side), mode="nearest-exact")[0, 0].to(torch.uint8)


def _batches(order: npt.NDArray[np.intp], size: int) -> Iterator[npt.NDArray[np.intp]]:
    """Batches of at least two rows: batch norm cannot do with one."""
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows if len(rows) > 1 else order[-2:]
