"""Corrections that do not fit the dataset are refused, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffumask_datasets import export
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.review.corrections import correct
from tests.review.corrections.test_programs import cvat_coco, write_coco

SQUARE = [[10, 5, 20, 5, 20, 9, 10, 9]]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown sample": (
        cvat_coco([], file_name="made-0007.png"),
        r"1 files are for samples that the dataset does not have \(made-0007…\); file names must be sample ids",
    ),
    "no sample id": (cvat_coco([], file_name="a b.png"), "invalid sample_id 'a b'"),
    "size": (
        cvat_coco([], width=112, height=80),
        r"expected the size of the sample, 56x40 \(width x height\), got 112x80; export the masks at full size",
    ),
    "class": (
        {**cvat_coco([{"category_id": 1, "segmentation": SQUARE}]), "categories": [{"id": 1, "name": "boot"}]},
        r"annotation 1: the dataset has no class 'boot' \(did you mean 'boat'\?\); it has car, potted plant, boat",
    ),
    "category": (cvat_coco([{"category_id": 9, "segmentation": SQUARE}]), "there is no category 9"),
    "box only": (cvat_coco([{"category_id": 1, "segmentation": []}]), "annotation 1 has no pixels: draw its mask"),
    "two points": (
        cvat_coco([{"category_id": 1, "segmentation": [[1, 2, 3, 4]]}]),
        "polygons .* of three points or more",
    ),
    "no number": (cvat_coco([{"category_id": 1, "segmentation": [[1, 2, 3, 4, 5, "6"]]}]), "a coordinate"),
    "runs": (
        cvat_coco([{"category_id": 1, "segmentation": {"size": [40, 56], "counts": [3]}}]),
        "cover 3 pixels of 2240",
    ),
    "no id": (cvat_coco([{"category_id": [1]}]), "list 'annotations', whose items have image_id, category_id"),
    "no list": ({"images": []}, "expected COCO's list 'annotations', whose items have image_id, category_id"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_coco_that_does_not_fit_is_refused_and_nothing_is_written(case: str, ds: Path, tmp_path: Path) -> None:
    document, message = REFUSED[case]
    with pytest.raises(ReviewError, match=message) as caught:
        correct(ds, tmp_path / "out", edits=write_coco(tmp_path / "cvat", document), format="coco")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"ds", "cvat"}


def labelme_shape(**drawn: Any) -> str:
    shape = {"label": "car", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon", **drawn}
    return json.dumps({"shapes": [shape], "imageHeight": 40, "imageWidth": 56})


LABELMES = {
    "class": (
        labelme_shape(label="lorry"),
        r"shape 1: the dataset has no class 'lorry'; it has car, potted plant, boat",
    ),
    "line": (
        labelme_shape(shape_type="line"),
        "a line of 3 points has no area; draw a polygon, rectangle, circle or mask",
    ),
    "outside": (
        labelme_shape(points=[[90, 90], [95, 90], [95, 95]]),
        "has no pixels: draw it inside the image, or delete it",
    ),
    "points": (labelme_shape(points=[[1]]), "expected points as"),
    "far": (labelme_shape(points=[[1, 1], [5, 1], [5, 1e9]]), "a point lies more than 8 times the image away"),
    "base64": (labelme_shape(shape_type="mask", points=[[0, 0], [1, 1]], mask="?"), "the mask is no base64"),
    "size": (
        labelme_shape().replace("56", "57"),
        r"expected the size of the sample, 56x40 \(width x height\), got 57x40",
    ),
    "not JSON": ("{", "is not JSON"),
    "no shapes": ("[]", "expected LabelMe's JSON with 'shapes'"),
}


@pytest.mark.parametrize("case", sorted(LABELMES))
def test_labelme_that_does_not_fit_is_refused(case: str, ds: Path, tmp_path: Path) -> None:
    text, message = LABELMES[case]
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits/made-0000.json").write_text(text)
    with pytest.raises(ReviewError, match=message):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="labelme")
    assert {path.name for path in tmp_path.iterdir()} == {"ds", "edits"}


@pytest.mark.parametrize(
    ("format", "file", "content", "message"),
    [
        ("imagefolder", "id2label.json", '{"1": "cart"}', r"the dataset has no class 'cart' \(did you mean 'car'\?\)"),
        ("imagefolder", "id2label.json", '{"0": "background", "1": "car"}', "id2label.json names no class 2"),
        ("imagefolder", "id2label.json", '{"x": "car"}', "expected the values of the masks and their classes"),
        ("imagefolder", "id2label.json", None, "id2label.json"),
        ("voc", "VOCdevkit/VOC2012/labelmap.txt", "cart:1,2,3::\n", r"the dataset has no class 'cart'"),
        (
            "voc",
            "VOCdevkit/VOC2012/labelmap.txt",
            "car:128,0::\n",
            "expected lines like 'car:128,0,0::', got 'car:128,0::'",
        ),
        ("voc", "VOCdevkit/VOC2012/labelmap.txt", "background:0,0,0::\n", "is not in its colour table; add it there"),
        (
            "voc",
            "VOCdevkit/VOC2012/labelmap.txt",
            None,
            r"expected SegmentationClass/\*.png and one labelmap.txt, got 4 masks",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    format: str, file: str, content: str | None, message: str, ds: Path, tmp_path: Path
) -> None:
    export(ds, tmp_path / "edits", format=format)
    (tmp_path / "edits" / file).unlink()
    if content is not None:
        (tmp_path / "edits" / file).write_text(content)
    with pytest.raises(ReviewError, match=message):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format=format)
    assert {path.name for path in tmp_path.iterdir()} == {"ds", "edits"}


@pytest.mark.parametrize("format", ["coco", "imagefolder", "labelme", "voc"])
def test_a_folder_that_holds_nothing_of_the_format_is_refused(format: str, ds: Path, tmp_path: Path) -> None:
    (tmp_path / "edits").mkdir()
    with pytest.raises(ReviewError, match=r"expected .*, got "):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format=format)
    with pytest.raises(ReviewError, match="nowhere is no folder: name the one that holds the corrected masks"):
        correct(ds, tmp_path / "out", edits=tmp_path / "nowhere", format=format)


@pytest.mark.parametrize("name", ["SegmentationClass", "SegmentationObject"])
def test_a_mask_of_another_size_or_a_damaged_one_is_refused(name: str, ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format="voc")
    path = tmp_path / f"edits/VOCdevkit/VOC2012/{name}/made-0001.png"
    picture = Image.open(path)
    picture.resize((28, 20), Image.Resampling.NEAREST).save(path)
    with pytest.raises(ReviewError, match=r"expected the size of the sample, 56x40 \(width x height\), got 28x20"):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="voc")
    path.write_bytes(b"no picture")
    with pytest.raises(ReviewError, match=r"made-0001.png: its content is no image format"):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="voc")
