"""Exports as FiftyOne's own importers read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets import export
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.exporters.voc.constants import PALETTE
from diffumask_datasets.masks import rle
from diffumask_datasets.review.database import load_fiftyone
from tests.helpers.made_datasets import CLASSES, dataset, drawn

NUMBERS = range(3)
ROWS = {f"made-{number:04d}": drawn(number) for number in NUMBERS}
OFFICIAL_VOC_IDS = [0, 7, 16, 4]
"""Of background, car, potted plant and boat."""


@pytest.fixture
def fo(fiftyone_home: Path) -> Iterator[Any]:
    """FiftyOne, and after the test without what the test imported."""
    fiftyone = load_fiftyone()
    before = set(fiftyone.list_datasets())
    yield fiftyone
    for name in set(fiftyone.list_datasets()) - before:
        fiftyone.delete_dataset(name)


@pytest.fixture
def source() -> Any:
    return dataset(list(ROWS.values()))


def label_of(sample_id: str) -> Any:
    return decode_label(ROWS[sample_id]["label"])


@pytest.mark.parametrize("polygons", [False, True])
def test_coco(fo: Any, source: Any, tmp_path: Path, polygons: bool) -> None:
    export(source, tmp_path, format="coco", polygons=polygons)
    read = fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(tmp_path / "train2017"),
        labels_path=str(tmp_path / "annotations/instances_train2017.json"),
        label_types=["segmentations"],
    )
    assert sorted(Path(path).stem for path in read.values("filepath")) == sorted(ROWS)
    for sample in read:
        objects = ROWS[Path(sample.filepath).stem]["objects"]
        found = sample.ground_truth.detections
        assert [CLASSES.index(one.label) + 1 for one in found] == objects["category"]
        for one, box, run in zip(found, objects["bbox"], objects["segmentation"], strict=True):
            assert np.array(one.bounding_box) * (56, 40, 56, 40) == pytest.approx(box)
            left, top, width, height = map(int, box)
            canvas = np.zeros((40, 56), bool)
            canvas[top : top + height, left : left + width] = one.mask
            np.testing.assert_array_equal(canvas, rle.decode(run, canvas.shape))


def test_voc_boxes(fo: Any, source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="voc")
    root = tmp_path / "VOCdevkit" / "VOC2012"
    read = fo.Dataset.from_dir(
        dataset_type=fo.types.VOCDetectionDataset,
        data_path=str(root / "JPEGImages"),
        labels_path=str(root / "Annotations"),
    )
    assert read.count() == 3
    for sample in read:
        objects = ROWS[Path(sample.filepath).stem]["objects"]
        found = sample.ground_truth.detections
        assert [one.label for one in found] == [
            {"potted plant": "pottedplant"}.get(CLASSES[category - 1], CLASSES[category - 1])
            for category in objects["category"]
        ]
        # FiftyOne takes the corners as they stand in the file: from 1, and the last pixel left out.
        for one, (left, top, width, height) in zip(found, objects["bbox"], strict=True):
            assert np.array(one.bounding_box) * (56, 40, 56, 40) == pytest.approx(
                [left + 1, top + 1, width - 1, height - 1]
            )


def test_voc_masks(fo: Any, source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="voc")
    root = tmp_path / "VOCdevkit" / "VOC2012"
    official = np.full(256, 255)
    official[: len(OFFICIAL_VOC_IDS)] = OFFICIAL_VOC_IDS
    for sample in segmentations(fo, root / "JPEGImages", root / "SegmentationClass"):
        label = label_of(Path(sample.filepath).stem)
        # FiftyOne shows a palette picture in its colours.
        np.testing.assert_array_equal(sample.ground_truth.get_mask(), PALETTE[official[label]])


def test_image_folder(fo: Any, source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="imagefolder")
    for sample in segmentations(fo, tmp_path / "train/images", tmp_path / "train/labels"):
        name = Path(sample.filepath).stem
        np.testing.assert_array_equal(sample.ground_truth.get_mask(), label_of(name))
        assert Path(sample.filepath).read_bytes() == ROWS[name]["image"]["bytes"]
    lines = (tmp_path / "train/metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["sample_id"] for line in lines] == list(ROWS)


def segmentations(fo: Any, images: Path, masks: Path) -> Any:
    read = fo.Dataset.from_dir(
        dataset_type=fo.types.ImageSegmentationDirectory, data_path=str(images), labels_path=str(masks)
    )
    assert read.count() == 3
    return read
