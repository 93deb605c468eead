"""AffinityNet: which neighbouring pixels belong together (Ahn & Kwak, CVPR 2018), learned from seeds, for all classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.random_walk import neighbour_offsets, random_walk, shifted
from diffumask_datasets.models.weights import fill, load_trunk
from diffumask_datasets.recipes.json_reader import parse_json
from diffumask_datasets.sample import IGNORE, check_array

__all__ = [
    "AffinityNet",
    "AffinityNetSettings",
    "load_affinity_net",
    "net_input",
    "pair_loss",
    "read_facts",
    "save_affinity_net",
    "spread_heat",
]

STRIDE = 4
"""Input pixels per cell of the affinity grid."""

_MULTIPLE = 32
_STAGE_SHARES = (1, 2, 4)
"""Channels taken of the three stages, in units of ``AffinityNetSettings.channels`` (64 + 128 + 256 in the paper)."""

_TINY = 1e-5


@dataclass(frozen=True, slots=True)
class AffinityNetSettings:
    """Architecture. ``backbone`` is a transformers checkpoint for ``AutoBackbone`` (``"microsoft/resnet-50"``), None for a
    small ResNet from scratch; ``channels`` is a seventh of the channels compared; images are resized to
    ``input_side`` squared pixels, and pairs lie nearer than ``radius`` cells of :data:`STRIDE` pixels.
    """

    backbone: str | None = None
    channels: int = 16
    input_side: int = 256
    radius: int = 5


class AffinityNet(nn.Module):
    """Images to features (batch, 7 * channels, height / 4, width / 4) whose L1 distance is the affinity's logarithm."""

    def __init__(self, settings: AffinityNetSettings, backbone: Any) -> None:
        super().__init__()
        self.settings = settings
        self.backbone: Any = backbone
        widths = [share * settings.channels for share in _STAGE_SHARES]
        self.stages = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(backbone.channels, widths, strict=True))
        self.mix = nn.Conv2d(sum(widths), sum(widths), 1)

    @classmethod
    def fresh(cls, settings: AffinityNetSettings = AffinityNetSettings()) -> AffinityNet:
        """A net to be trained, on the backbone's pretrained weights where one is named.

        Raises:
            ModelError: the backbone cannot be loaded.
        """
        from transformers import AutoConfig, ResNetBackbone, ResNetConfig

        if settings.backbone is None:
            config = ResNetConfig(
                embedding_size=32,
                hidden_sizes=[32, 64, 128],
                depths=[1, 1, 1],
                layer_type="basic",
                out_features=["stage1", "stage2", "stage3"],
            )
            return cls(settings, ResNetBackbone(config))
        try:
            what = f"the backbone {settings.backbone!r}"
            config = AutoConfig.from_pretrained(settings.backbone, out_indices=(1, 2, 3))
            return cls(settings, load_trunk(settings.backbone, config, what=what))
        except ModelError:
            raise
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"cannot load the backbone {settings.backbone!r}: {reason}") from error

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of ``pixels`` (batch, 3, height, width), normalised as :func:`net_input` does."""
        height, width = pixels.shape[2] // STRIDE, pixels.shape[3] // STRIDE
        maps = self.backbone(pixels).feature_maps
        parts = [F.elu(stage(features)) for stage, features in zip(self.stages, maps, strict=True)]
        sized = [F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False) for part in parts]
        mixed: torch.Tensor = F.elu(self.mix(torch.cat(sized, dim=1)))
        return mixed


def net_input(image: npt.NDArray[np.uint8], input_side: int) -> torch.Tensor:
    """An image as (3, height, width), sides multiples of 32, ImageNet's mean and deviation taken out."""
    height, width, _ = check_array("image", image, shape=("height", "width", 3), dtype="uint8")
    scale = input_side / float(np.sqrt(height * width))
    size = [max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (height, width)]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    resized = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (resized - mean[:, None, None]) / deviation[:, None, None]


def pair_loss(features: torch.Tensor, seeds: torch.Tensor, *, radius: int) -> torch.Tensor:
    """Computes Ahn & Kwak's loss (their equation 4).

    Background pairs and pairs of one class are to be alike and count a quarter each, pairs of different seeds are to differ
    and count half. Kinds of pairs that the batch does not have count nothing.

    Args:
        features: (batch, channels, h, w).
        seeds: uint8 (batch, h, w).
        radius: The farthest distance of a pair.

    Returns:
        The loss.
    """
    height, width = seeds.shape[1:]
    sums = [features.new_zeros(()) for _ in range(3)]
    counts = [0, 0, 0]
    for offset in neighbour_offsets(radius):
        one, other = shifted(height, width, offset)
        first, second = seeds[..., one[0], one[1]], seeds[..., other[0], other[1]]
        distance = (features[..., one[0], one[1]] - features[..., other[0], other[1]]).abs().mean(dim=1)
        known = (first != IGNORE) & (second != IGNORE)
        same = known & (first == second)
        kinds = (same & (first == 0), same & (first > 0), known & (first != second))
        # The logarithm of the affinity is the distance itself; that of its complement needs a floor.
        apart = -torch.log1p(_TINY - torch.exp(-distance))
        for kind, (pairs, loss) in enumerate(zip(kinds, (distance, distance, apart), strict=True)):
            sums[kind] = sums[kind] + loss[pairs].sum()
            counts[kind] += int(pairs.sum())
    weights = (0.25, 0.25, 0.5)
    return torch.stack([w * s / max(c, 1) for w, s, c in zip(weights, sums, counts, strict=True)]).sum()


@torch.no_grad()
def spread_heat(
    net: AffinityNet, image: npt.NDArray[np.uint8], heat_maps: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Spreads heat by a random walk along the affinities that a net sees.

    Args:
        net: The net.
        image: uint8 (height, width, 3).
        heat_maps: float32 (classes, height, width) in [0, 1].

    Returns:
        Heat maps of the same form.

    Raises:
        ModelError: The net gives NaN.
    """
    net.eval()
    features = net(net_input(image, net.settings.input_side)[None])[0]
    if not torch.isfinite(features).all():
        raise ModelError("the affinity net gives NaN: train it again with a lower learning rate")
    height, width = features.shape[1:]
    affinities = {}
    for offset in neighbour_offsets(net.settings.radius):
        one, other = shifted(height, width, offset)
        distance = (features[..., one[0], one[1]] - features[..., other[0], other[1]]).abs().mean(dim=0)
        affinities[offset] = torch.exp(-distance).numpy()
    coarse = F.interpolate(torch.from_numpy(heat_maps)[None], size=(height, width), mode="area")[0].numpy()
    walked = torch.from_numpy(random_walk(coarse, affinities))[None]
    sized = F.interpolate(walked, size=heat_maps.shape[1:], mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return np.asarray(sized.numpy(), dtype=np.float32)


def save_affinity_net(net: AffinityNet, path: Path, *, facts: Mapping[str, str] | None = None) -> None:
    """Writes one safetensors file that :func:`load_affinity_net` reads without asking the Hub.

    Args:
        net: The net.
        path: The file.
        facts: What goes along.
    """
    config = json.dumps(net.backbone.config.to_dict(), default=str)
    metadata = {**(facts or {}), "settings": json.dumps(asdict(net.settings)), "backbone": config}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path, metadata=metadata)


def read_facts(path: Path) -> dict[str, str]:
    """The metadata of a saved net.

    Raises:
        ModelError: it is missing or no affinity net.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot read the affinity net {path}: {error}; make one with diffumask train-affinity"
        ) from error
    if not {"settings", "backbone"} <= set(facts):
        raise ModelError(f"{path} is no affinity net; make one with diffumask train-affinity")
    return facts


@lru_cache(maxsize=2)
def load_affinity_net(path: Path) -> AffinityNet:
    """A saved net, ready to be asked.

    Raises:
        ModelError: it is missing, no affinity net, or its weights are not those of the net that it describes.
    """
    from transformers import AutoBackbone, AutoConfig

    facts = read_facts(path)
    where = f"the affinity net {path}"
    config: Any = parse_json(facts["backbone"], where=where, error=ModelError)
    settings: Any = parse_json(facts["settings"], where=where, error=ModelError)
    try:
        backbone = AutoBackbone.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
        net = AffinityNet(AffinityNetSettings(**settings), backbone)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no affinity net: {' '.join(str(error).split())}") from error
    fill(net, load_file(path), what=where)
    return net.eval()
