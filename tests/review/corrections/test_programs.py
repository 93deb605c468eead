"""What annotation programs write of their own: CVAT's COCO and VOC, LabelMe's shapes, masks drawn by hand."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets import export
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.review.corrections import correct
from tests.helpers.made_datasets import CLASSES

SIZE = (40, 56)


def corrected(ds: Path, edits: Path, format: str, sample_id: str = "made-0000") -> tuple[np.ndarray, list[Any]]:
    """The semantic mask and the (category, mask) of a sample once it is corrected."""
    out = edits.with_name("out")
    assert correct(ds, out, edits=edits, format=format).corrected == [sample_id]
    (row,) = (row for _, row in open_dataset(out).rows() if row["sample_id"] == sample_id)
    objects = row["objects"]
    masks = [decode(run, SIZE) for run in objects["segmentation"]]
    assert objects["area"] == [mask.sum() for mask in masks]
    return decode_label(row["label"]), list(zip(objects["category"], masks, strict=True))


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def cvat_coco(annotations: list[dict[str, Any]], **image: Any) -> dict[str, Any]:
    """As CVAT exports a task: COCO with its own ids, dates that are empty, and every frame of the task."""
    info = {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""}
    frame = {"id": 1, "width": 56, "height": 40, "file_name": "train2017/made-0000.png", "date_captured": 0, **image}
    names = ("boat", "pottedplant", "car")
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names, start=1)]
    defaults = {"id": 1, "image_id": 1, "iscrowd": 0, "attributes": {"occluded": False}}
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": info,
        "categories": categories,
        "images": [frame],
        "annotations": [{**defaults, **annotation} for annotation in annotations],
    }


def write_coco(folder: Path, document: dict[str, Any]) -> Path:
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations/instances_default.json").write_text(json.dumps(document))
    return folder


def test_coco_of_cvat(ds: Path, tmp_path: Path) -> None:
    # A brush mask comes as a crowd of uncompressed runs, column by column: rows 1 and 2 of columns 0 and 1.
    runs = {"size": [40, 56], "counts": [1, 2, 38, 2, 2240 - 43]}
    polygons = [[10, 5, 20, 5, 20, 9, 10, 9], [30, 5, 70, 5, 70, 9, 30, 9]]
    annotations = [
        {"category_id": 2, "segmentation": runs, "iscrowd": 1},
        {"id": 2, "category_id": 3, "segmentation": polygons},
    ]
    label, objects = corrected(ds, write_coco(tmp_path / "cvat", cvat_coco(annotations)), "coco")
    assert [category for category, _ in objects] == [2, 1]
    np.testing.assert_array_equal(objects[0][1], block(1, 0, 3, 2))
    # Outside the image nothing is drawn.
    np.testing.assert_array_equal(objects[1][1], block(5, 10, 9, 20) | block(5, 30, 9, 56))
    assert {value: int((label == value).sum()) for value in (1, 2, 3, 255)} == {1: 144, 2: 4, 3: 0, 255: 70}
    (line,) = (tmp_path / "out/decisions.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "corrected by hand"


def test_a_task_in_cvat_and_back(ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format="coco")
    given = json.loads((tmp_path / "edits/annotations/instances_train2017.json").read_text())
    images = {image["id"]: image["file_name"] for image in given["images"]}
    names = {category["id"]: category["name"] for category in given["categories"]}
    cvat = cvat_coco([])
    numbers = {category["name"]: category["id"] for category in cvat["categories"]}
    # CVAT sorts frames by their names, counts anew, and writes a zip.
    cvat["images"] = [
        {**cvat["images"][0], "id": number, "file_name": f"train2017/{name}"}
        for number, name in enumerate(sorted(images.values()), start=1)
    ]
    frames = {image["file_name"].rpartition("/")[2]: image["id"] for image in cvat["images"]}
    deleted = next(one for one in given["annotations"] if images[one["image_id"]].startswith("made-0001"))
    for number, one in enumerate((one for one in given["annotations"] if one is not deleted), start=1):
        own = {"id": number, "image_id": frames[images[one["image_id"]]], "attributes": {"occluded": False}}
        own["category_id"] = numbers[names[one["category_id"]].replace("potted plant", "pottedplant")]
        cvat["annotations"].append({**one, **own})
    with zipfile.ZipFile(tmp_path / "task_annotations_coco.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(cvat))
    shutil.unpack_archive(tmp_path / "task_annotations_coco.zip", tmp_path / "cvat")
    done = correct(ds, tmp_path / "out", edits=tmp_path / "cvat", format="coco")
    assert (done.corrected, done.unchanged, done.untouched) == (["made-0001"], 2, 1)
    before, after = (
        {row["sample_id"]: row for _, row in open_dataset(tmp_path / name).rows()} for name in ("ds", "out")
    )
    assert {name for name in before if before[name] != after[name]} == {"made-0001"}
    gone = names[deleted["category_id"]]
    kept = [category for category in before["made-0001"]["classes"] if category != CLASSES.index(gone) + 1]
    assert after["made-0001"]["classes"] == kept != before["made-0001"]["classes"]


def test_voc_of_cvat(ds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cvat"
    for kind in ("SegmentationClass", "SegmentationObject"):
        (folder / kind).mkdir(parents=True)
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nboat:10,20,30::\ncar:250,0,7::\n"
    )
    classes, objects = np.zeros((*SIZE, 3), np.uint8), np.zeros((*SIZE, 3), np.uint8)
    classes[2:6, 2:12] = (250, 0, 7)
    objects[2:6, 2:7], objects[2:6, 7:12] = (128, 0, 0), (0, 128, 0)
    classes[20:22, 4:8], objects[20:22, 4:8] = (10, 20, 30), (128, 128, 0)
    Image.fromarray(classes).save(folder / "SegmentationClass/made-0000.png")
    Image.fromarray(objects).save(folder / "SegmentationObject/made-0000.png")
    label, found = corrected(ds, folder, "voc")
    expected = np.where(block(2, 2, 6, 12), 1, np.where(block(20, 4, 22, 8), 3, 0))
    np.testing.assert_array_equal(label, expected)
    assert sorted((category, int(mask.sum()), int(mask.nonzero()[1].min())) for category, mask in found) == [
        (1, 20, 2),
        (1, 20, 7),
        (3, 8, 4),
    ]


def test_shapes_of_labelme(ds: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 255], [255, 255, 0]], np.uint8)).save(buffer, "PNG")
    shapes = [
        {"label": "car", "points": [[2, 2], [6, 2], [6, 4], [2, 4]], "group_id": 7, "shape_type": "polygon"},
        {"label": "Potted-Plant", "points": [[20, 9], [12, 5]], "group_id": None, "shape_type": "rectangle"},
        {"label": "car", "points": [[40, 2], [41, 2], [41, 3]], "group_id": 7, "shape_type": "polygon"},
        {
            "label": "boat",
            "points": [[50, 30], [52, 31]],
            "group_id": None,
            "shape_type": "mask",
            "mask": base64.b64encode(buffer.getvalue()).decode(),
        },
        {"label": "boat", "points": [[30, 15], [33, 15]], "shape_type": "circle"},
    ]
    folder = tmp_path / "labelme"
    folder.mkdir()
    document = {
        "shapes": shapes,
        "imageHeight": 40,
        "imageWidth": 56,
        "imageData": "AAAA",
        "imagePath": "..\\made-0000.png",
    }
    (folder / "made-0000.json").write_text(json.dumps(document))
    label, objects = corrected(ds, folder, "labelme")
    assert [category for category, _ in objects] == [1, 2, 3, 3]
    np.testing.assert_array_equal(objects[0][1], block(2, 2, 5, 7) | block(2, 40, 3, 42) | block(3, 41, 4, 42))
    np.testing.assert_array_equal(objects[1][1], block(5, 12, 10, 21))
    np.testing.assert_array_equal(objects[2][1], block(30, 51, 31, 53) | block(31, 50, 32, 52))
    circle = objects[3][1]
    rows, columns = circle.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 18, 27, 33)
    assert np.unique(label).tolist() == [0, 1, 2, 3, 255]


def test_drawn_masks_extend_split_and_add_objects(ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format="imagefolder")
    path = tmp_path / "edits/train/labels/made-0000.png"
    values = np.array(Image.open(path))
    values[26:28, 20:22] = 0
    values[22:24, 5:9] = 3
    values[2:4, 40:44] = 2
    values[35, 50:52] = 3
    Image.fromarray(values).save(path)
    label, objects = corrected(ds, tmp_path / "edits", "imagefolder")
    np.testing.assert_array_equal(label, values)
    disc, bar, *others = objects
    assert (disc[0], bar[0]) == (2, 3)
    np.testing.assert_array_equal(bar[1], (block(24, 5, 30, 40) & ~block(26, 20, 28, 22)) | block(22, 5, 24, 9))
    # The car of one pixel is a boat now, with a second pixel; a potted plant is new.
    assert [category for category, _ in others] == [2, 3]
    np.testing.assert_array_equal(others[0][1], block(2, 40, 4, 44))
    np.testing.assert_array_equal(others[1][1], block(35, 50, 36, 52))


def test_new_pixels_between_two_objects_go_to_the_nearer_one(tmp_path: Path, ds: Path) -> None:
    from diffumask_datasets.review.corrections.edit import Edit
    from diffumask_datasets.review.corrections.merging import merged_row
    from tests.helpers.made_datasets import row_of_instances

    instances = np.zeros((3, 12), dtype=np.int64)
    instances[:, :3], instances[:, 8:] = 1, 4  # both of class 2
    edited = np.full((3, 12), 2, dtype=np.uint8)
    row = merged_row(row_of_instances(instances), Edit(label=edited))
    assert row is not None
    masks = [decode(run, (3, 12)) for run in row["objects"]["segmentation"]]
    # Columns 3, 4 and, as far from both, 5 go to the first.
    assert [mask.any(axis=0).nonzero()[0].tolist() for mask in masks] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
