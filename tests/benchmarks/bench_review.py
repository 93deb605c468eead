"""What review costs: our import into FiftyOne beside FiftyOne's own COCO importer. Run by ``make bench-review``.

Both get the same images, boxes and instance masks; ours also brings semantic masks, heat maps, facts, colours and views.
Also how heavy the review page is, and how soon a browser shows its first picture.
``PARTS=fiftyone`` needs the extra [fiftyone] and its database, ``PARTS=page`` chromium and chromium-driver.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import concatenate_datasets, load_dataset

from diffumask_datasets import generate, to_fiftyone
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_label, encoded_bytes, objects_of
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.review.database import load_fiftyone
from diffumask_datasets.review.page import write_page
from tests.benchmarks.harness import paired_ratio, run
from tests.helpers.browser import chromium, opening

FIELDS: dict[str, Any] = {
    "classes": ["car", "potted plant", "boat"],
    "classes_per_image": 2,
    "model": "planted",
    "height": 256,
    "width": 256,
    "threshold": 0.5,
    "refinement": None,
}
NAME = "diffumask-bench"


PARTS = ("fiftyone", "page")


def measure(quick: bool, parts: Sequence[str]) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="bench-review-") as root:
            figures |= {"fiftyone": _fiftyone, "page": _page}[part](quick, Path(root))
    return figures


def _generated(samples: int, root: Path) -> Path:
    generate(root / "ds", num_samples=samples, store=root / "store", **FIELDS)
    return root / "ds"


def _fiftyone(quick: bool, root: Path) -> dict[str, float]:
    samples = 100 if quick else 5000
    folder = _generated(samples, root)
    _write_coco(folder, root / "coco")
    ours, theirs = lambda: _ours(folder, root / "media"), lambda: _coco_importer(root / "coco")
    ours()
    theirs()
    ratio, spread = paired_ratio(ours, theirs, rounds=3 if quick else 5)
    return {
        "fiftyone_vs_coco_importer_time": ratio,
        "fiftyone_vs_coco_importer_time_spread": spread,
        "masks_lost": _masks_lost(folder, root / "media"),
        "samples": samples,
    }


def _page(quick: bool, root: Path) -> dict[str, float]:
    """The review page of samples that are each on it under ten ids, in a browser without a network."""
    once = load_dataset(str(_generated(20 if quick else 1000, root)), split="train", cache_dir=str(root / "cache"))
    ids = once["sample_id"]
    copies = [
        once.remove_columns("sample_id").add_column("sample_id", [f"{name[:-8]}{copy}{name[-7:]}" for name in ids])
        for copy in range(10)
    ]
    page = write_page(concatenate_datasets(copies), root / "review.html")
    assert isinstance(page, Path)
    (root / "downloads").mkdir()
    with chromium(root / "downloads") as chrome:
        seen = opening(chrome, page)
    samples = len(copies) * len(once)
    return {
        "page_samples": samples,
        "page_kb_per_sample": page.stat().st_size / 1024 / samples,
        "page_mb": page.stat().st_size / 2**20,
        "page_seconds_to_first_picture": seen.first_picture,
        "page_seconds_to_last_picture": seen.whole,
    }


def _ours(folder: Path, media: Path) -> None:
    # Without embeddings: the importer computes none either.
    to_fiftyone(folder, NAME, media=media, embeddings=False).delete()


def _coco_importer(folder: Path) -> None:
    fo = load_fiftyone()
    # Copied to where FiftyOne keeps its media, as ours are.
    data = folder.parent / "coco-media"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(folder / "data", data)
    fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(data),
        labels_path=str(folder / "labels.json"),
        label_types=["detections", "segmentations"],
    ).delete()


def _write_coco(source: Path, folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    opened = open_dataset(source)
    images, annotations = [], []
    for number, (_, row) in enumerate(opened.rows(), 1):
        name = f"{row['sample_id']}.png"
        (folder / "data" / name).write_bytes(encoded_bytes(row["image"]))
        height, width = decode_label(row["label"]).shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for found in objects_of(row):
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": found.category}
            annotation |= {"bbox": list(found.bbox_xywh), "area": found.area, "iscrowd": 0}
            annotations.append({**annotation, "segmentation": dict(found.segmentation)})
    categories = [{"id": number, "name": name} for number, name in enumerate(opened.classes, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")


def _masks_lost(folder: Path, media: Path) -> float:
    """Masks, semantic and of instances, that do not come back from FiftyOne pixel for pixel."""
    dataset = to_fiftyone(folder, NAME, media=media, embeddings=False)
    lost = 0
    try:
        rows = {row["sample_id"]: row for _, row in open_dataset(folder).rows()}
        for sample in dataset.iter_samples():
            row = rows.pop(sample.sample_id)
            label = decode_label(row["label"])
            lost += not np.array_equal(sample.semantic.get_mask(), label)
            detections = sample.instances.detections
            lost += abs(len(detections) - len(row["objects"]["id"]))
            for detection, found in zip(detections, objects_of(row), strict=False):
                whole = decode(found.segmentation, label.shape)
                x, y, width, height = map(int, found.bbox_xywh)
                canvas = np.zeros_like(whole)
                canvas[y : y + height, x : x + width] = detection.mask
                lost += not np.array_equal(canvas, whole)
        return lost + len(rows)
    finally:
        dataset.delete()


if __name__ == "__main__":
    run("review", measure, parts=PARTS, keeps=True)
