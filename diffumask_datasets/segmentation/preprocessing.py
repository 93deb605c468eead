"""Pixels to tensors and back. Own code: the processors of transformers want torchvision, which this project keeps out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PretrainedConfig
from transformers.image_processing_base import ImageProcessingMixin

from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.labelled import Pixels

__all__ = ["Jitter", "Preprocessing"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PROCESSOR_FILE = "preprocessor_config.json"


@dataclass(frozen=True, slots=True)
class Jitter:
    """What happens to image and mask together: a resize by ``scale`` before the crop to size, and a mirror image.

    ``across`` and ``down`` in [0, 1] place the crop, or the image on the canvas where it is smaller. Of the image alone each
    channel, at mean 0 and deviation 1, is multiplied by its ``gain`` and then raised by its ``lift``.
    """

    scale: float = 1.0
    mirror: bool = False
    across: float = 0.5
    down: float = 0.5
    gain: tuple[float, ...] = ()
    lift: tuple[float, ...] = ()

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, scale: tuple[float, float], flip: bool, colour: float = 0.0) -> Jitter:
        """A jitter drawn from ``rng``: scale evenly in log space, gains within 1 ± ``colour``, lifts within ± ``colour``."""
        factor = float(np.exp(rng.uniform(*np.log(scale))))
        placed = cls(factor, bool(flip and rng.random() < 0.5), float(rng.random()), float(rng.random()))
        if not colour:
            return placed
        gain, lift = (tuple(rng.uniform(-colour, colour, 3).tolist()) for _ in range(2))
        return dataclasses.replace(placed, gain=tuple(1 + change for change in gain), lift=lift)


@dataclass(frozen=True)
class Preprocessing:
    """Size in pixels and the mean and deviation of the channels, in [0, 1], that the model was trained with."""

    height: int
    width: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @classmethod
    def of_checkpoint(cls, checkpoint: str, *, height: int, width: int) -> Preprocessing:
        """With mean and deviation as the checkpoint's processor has them, ImageNet's where it has none."""
        try:
            # Of family+backbone, the backbone has seen images.
            fields, _ = ImageProcessingMixin.get_image_processor_dict(checkpoint.rpartition("+")[2])
        except OSError:
            return cls(height, width)
        mean, std = (tuple(fields.get(name) or own) for name, own in _CHANNELS)
        return cls(height, width, mean, std)

    @classmethod
    def saved(cls, folder: str | Path) -> Preprocessing | None:
        """The one that :meth:`save` or a processor of transformers wrote; None where there is none."""
        try:
            fields, _ = ImageProcessingMixin.get_image_processor_dict(str(folder))
        except OSError:
            return None
        size = fields.get("size") or {}
        side = size if isinstance(size, int) else size.get("shortest_edge", 512)
        sides = size if isinstance(size, dict) else {}
        mean, std = (tuple(fields.get(name) or own) for name, own in _CHANNELS)
        return cls(sides.get("height", side), sides.get("width", side), mean, std)

    def save(self, folder: Path, config: PretrainedConfig) -> None:
        """Writes it as the processor of transformers for this family reads it."""
        family = {"maskformer": "MaskFormer", "mask2former": "Mask2Former", "eomt": "Eomt"}
        fields = {
            "image_processor_type": f"{family.get(config.model_type, 'Segformer')}ImageProcessor",
            "do_resize": True,
            "size": {"height": self.height, "width": self.width},
            "resample": int(Image.Resampling.BILINEAR),
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "do_reduce_labels": False,
            "ignore_index": IGNORE,
        }
        (folder / PROCESSOR_FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")

    def pixels(self, image: Pixels, jitter: Jitter = Jitter()) -> Tensor:
        """uint8 (height, width, 3) → float32 (3, self.height, self.width); what a small image leaves free is the mean."""
        placed = self._placed(Image.fromarray(image), jitter, Image.Resampling.BILINEAR, fill=None)
        pixels = self.normalised(np.asarray(placed))
        if not jitter.gain:
            return pixels
        gain, lift = (torch.tensor(values).view(3, 1, 1) for values in (jitter.gain, jitter.lift))
        return pixels * gain + lift

    def labels(self, label: Pixels, jitter: Jitter = Jitter()) -> Tensor:
        """uint8 (height, width) → int64 (self.height, self.width); what a small image leaves free is 255."""
        placed = self._placed(Image.fromarray(label), jitter, Image.Resampling.NEAREST, fill=IGNORE)
        return torch.from_numpy(np.asarray(placed, dtype=np.int64))

    def normalised(self, image: Pixels) -> Tensor:
        """uint8 (height, width, 3) → float32 (3, height, width) with mean 0 and deviation 1 per channel."""
        channels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (channels - mean) / std

    def _placed(self, picture: Image.Image, jitter: Jitter, how: Image.Resampling, *, fill: int | None) -> Image.Image:
        size_wh = (self.width, self.height)
        wanted_wh = (max(1, round(self.width * jitter.scale)), max(1, round(self.height * jitter.scale)))
        if picture.size != wanted_wh:
            picture = picture.resize(wanted_wh, how)
        if jitter.mirror:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if wanted_wh == size_wh:
            return picture
        mean = tuple(round(255 * value) for value in self.mean)
        canvas = Image.new(picture.mode, size_wh, mean if fill is None else fill)
        place = (_offset(self.width - wanted_wh[0], jitter.across), _offset(self.height - wanted_wh[1], jitter.down))
        canvas.paste(picture, place)
        return canvas


_CHANNELS = (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD))


def _offset(room: int, share: float) -> int:
    """Where the picture starts on the canvas: inside it where there is room, else left of it."""
    return round(room * share)
