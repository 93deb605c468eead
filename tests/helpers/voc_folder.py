"""A dataset in the layout of Pascal VOC, made of drawn scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from diffumask_datasets.toybox import CLASS_NAMES, Demand, render_scene

VALUES: Mapping[str, int] = {"car": 7, "boat": 4, "flower": 16}
"""Classes of the toybox and the values of such classes in VOC's masks, where a flower is a potted plant."""


def voc_folder(root: Path, scenes: Sequence[Sequence[str]], *, size_wh: tuple[int, int] = (96, 64)) -> Path:
    """Writes a scene of each list of classes as an image of the split ``val``, named 000, 001, …"""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    table = np.zeros(256, np.uint8)
    for name, value in VALUES.items():
        table[CLASS_NAMES.index(name) + 1] = value
    for number, classes in enumerate(scenes):
        scene = render_scene(number, split="test", demand=Demand(classes=list(classes)))
        image, mask = Image.fromarray(scene.image), Image.fromarray(table[scene.semantic])
        image.resize(size_wh).save(root / "JPEGImages" / f"{number:03}.jpg", quality=95)
        mask.resize(size_wh, Image.Resampling.NEAREST).save(root / "SegmentationClass" / f"{number:03}.png")
    names = "".join(f"{number:03}\n" for number in range(len(scenes)))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text(names, encoding="utf-8")
    return root
