"""``diffumask train`` and ``diffumask evaluate`` on street photographs with human masks, beside torchmetrics."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchmetrics.classification import MulticlassJaccardIndex

from diffumask_datasets.cli.segmentation import evaluate, train
from diffumask_datasets.sample import IGNORE
from tests.benchmarks.photos_data import street_classes, street_folder
from tests.benchmarks.photos_streets import LARGE

STEPS = 1000
"""27 passes over the photos of the training split, ten minutes of a core."""

SIZE = (96, 128)
SETTINGS = ["learning_rate=1e-3", "scale=[0.75, 1.5]", "colour=0.2"]


def segmenter_figures(*, quick: bool) -> dict[str, float]:
    """mIoU on the test split, which holds other drives than the training split; a small SegFormer from scratch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in ("train", "test"):
            _link(folder / split, split)
        train(
            folder / "model",
            [f"folder={folder / 'train'}"],
            steps=20 if quick else STEPS,
            batch_size=10,
            size=SIZE,
            device="cpu",
            set_=SETTINGS,
        )
        evaluate(
            str(folder / "model"),
            str(folder / "test"),
            benchmark="folder",
            output=folder / "scores",
            predictions=folder / "predictions",
            device="cpu",
        )
        scores = json.loads((folder / "scores" / "scores.json").read_text(encoding="utf-8"))
        theirs = torchmetrics_ious(folder / "test" / "masks", folder / "predictions", classes=len(street_classes()))
    ours = {name: scores["classes"][name]["iou"] for name in street_classes()}
    return {
        "segmenter_miou": float(np.mean(list(ours.values()))),
        "segmenter_miou_7": float(np.mean([ours[name] for name in LARGE])),
        "segmenter_boundary_iou": scores["mean_boundary_iou"],
        "segmenter_pixel_accuracy": scores["pixel_accuracy"],
        "segmenter_miou_torchmetrics": float(np.mean(theirs)),
        "segmenter_iou_difference": float(np.abs(np.array(list(ours.values())) - theirs).max()),
    }


def torchmetrics_ious(masks: Path, predictions: Path, *, classes: int) -> list[float]:
    """IoU of each class 1..``classes`` by torchmetrics, of mask files with the same names; 255 in a mask counts nowhere."""
    index = MulticlassJaccardIndex(num_classes=1 + classes, average=None, ignore_index=IGNORE)
    for path in sorted(masks.glob("*.png")):
        predicted, truth = (np.array(Image.open(folder / path.name)) for folder in (predictions, masks))
        index.update(torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    return [float(value) for value in index.compute()[1:]]


def _link(folder: Path, split: str) -> None:
    """A plain folder as ``diffumask train`` reads it, of one split."""
    folder.mkdir()
    for kind in ("images", "masks"):
        (folder / kind).symlink_to((street_folder() / kind / split).resolve())
    names = {str(number): name for number, name in enumerate(street_classes(), start=1)}
    (folder / "id2label.json").write_text(json.dumps(names), encoding="utf-8")
