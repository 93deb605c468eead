"""What counting right and wrong pixels costs beside predicting them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from transformers import AutoModelForUniversalSegmentation, Mask2FormerConfig, ResNetConfig

from diffumask_datasets.segmentation.metrics import Tally
from diffumask_datasets.segmentation.models import build_model
from diffumask_datasets.segmentation.preprocessing import Preprocessing
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.toybox import render_scene

CLASSES = tuple(f"class {number}" for number in range(21))


def metrics_over_forward(*, quick: bool) -> Mapping[str, float]:
    """CPU seconds of counting over those of predicting, on the same images, in turns; the weights do not matter."""
    rounds = 1 if quick else 5
    small = build_model("segformer-small", CLASSES)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # counting takes one thread too
    try:
        return {
            "metrics_over_forward": _ratio(Segmenter(_paper(), Preprocessing(512, 512), device="cpu"), 512, rounds),
            "metrics_over_forward_small": _ratio(
                Segmenter(small, Preprocessing(64, 64), device="cpu"), 128, 8 * rounds
            ),
        }
    finally:
        torch.set_num_threads(before)


def _paper() -> torch.nn.Module:
    """Mask2Former with ResNet-50 for VOC, the paper's segmenter."""
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config = Mask2FormerConfig(backbone_config=ResNetConfig(out_features=stages), id2label=dict(enumerate(CLASSES)))
    return AutoModelForUniversalSegmentation.from_config(config)


def _ratio(segmenter: Segmenter, side: int, rounds: int) -> float:
    scenes = [render_scene(seed, size=(side, side), split="test") for seed in range(2)]
    ratios = []
    for _ in range(rounds):
        started = time.process_time()
        masks = list(segmenter.predict(scene.image for scene in scenes))
        between = time.process_time()
        tally = Tally(len(CLASSES))
        for scene, mask in zip(scenes, masks, strict=True):
            tally.add(scene.semantic, mask)
        ratios.append((time.process_time() - between) / (between - started))
    return float(np.median(ratios))
