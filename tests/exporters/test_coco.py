import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import PanopticQuality

from diffumask_datasets import export, verify
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.classes import format_classes
from diffumask_datasets.exporters.coco.constants import CATEGORIES
from diffumask_datasets.exporters.coco.convert import instance_annotations, panoptic_segments
from diffumask_datasets.exporters.coco.polygons import edge_polygons
from tests.helpers.made_datasets import (
    CLASSES,
    dataset,
    drawn,
    extreme_maps,
    instance_maps,
    row_of_instances,
    sample_of,
)

KNOWN = format_classes(CLASSES, table=CATEGORIES, ids="auto", owner="COCO")


def read(path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_what_the_files_say(tmp_path: Path) -> None:
    source = dataset([drawn(0), drawn(1)])
    export(source, tmp_path, format="coco", parts=["instances", "captions"])
    found = json.loads((tmp_path / "annotations/instances_train2017.json").read_text())
    assert found["images"] == [
        {"id": 1, "file_name": "made-0000.png", "height": 40, "width": 56},
        {"id": 2, "file_name": "made-0001.png", "height": 40, "width": 56},
    ]
    # The classes are all COCO's: the official ids.
    assert [(category["id"], category["name"]) for category in found["categories"]] == [
        (3, "car"),
        (64, "potted plant"),
        (9, "boat"),
    ]
    bar = found["annotations"][1]
    assert (bar["id"], bar["image_id"], bar["category_id"], bar["iscrowd"]) == (2, 1, 9, 0)
    assert (bar["bbox"], bar["area"]) == ([5.0, 24.0, 35.0, 6.0], 210)
    assert isinstance(bar["segmentation"]["counts"], str)
    assert [annotation["id"] for annotation in found["annotations"]] == [1, 2, 3, 4, 5, 6]
    captions = json.loads((tmp_path / "annotations/captions_train2017.json").read_text())
    assert captions["annotations"][1] == {"id": 2, "image_id": 2, "caption": "a photo of made-0001"}
    assert (tmp_path / "train2017/made-0001.png").read_bytes() == drawn(1)["image"]["bytes"]


def test_other_classes_count_from_one(tmp_path: Path) -> None:
    export(dataset([drawn(0)], classes=["car", "tree", "boat"]), tmp_path, format="coco")
    found = read(tmp_path / "annotations/instances_train2017.json").dataset["categories"]
    assert [category["id"] for category in found] == [1, 2, 3]


def test_the_official_table() -> None:
    assert len(CATEGORIES) == 80
    unused = set(range(1, 91)) - set(CATEGORIES.values())
    assert unused == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert [CATEGORIES[name] for name in ("person", "stop sign", "bed", "tv", "toothbrush")] == [1, 13, 65, 72, 90]


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_eval_of_the_set_against_itself(polygons: bool, tmp_path: Path) -> None:
    source = dataset([drawn(number) for number in range(4)])
    export(source, tmp_path, format="coco", polygons=polygons)
    truth = read(tmp_path / "annotations/instances_train2017.json")
    guesses = [
        {
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "segmentation": coco_mask.encode(np.asfortranarray(truth.annToMask(annotation))),
            "score": 0.9,
        }
        for annotation in truth.dataset["annotations"]
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(guesses), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0, abs=1e-12)
    assert all(check.passed for check in verify(tmp_path, source=source))


@given(instance_maps())
def test_annotations_agree_with_pycocotools(instances: np.ndarray) -> None:
    sample = sample_of(row_of_instances(instances))
    annotations = instance_annotations(sample, KNOWN)
    numbers = [number for number in np.unique(instances) if number not in (0, 255)]
    assert len(annotations) == len(numbers)
    for annotation, number in zip(annotations, numbers, strict=True):
        run = coco_mask.encode(np.asfortranarray(instances == number, dtype=np.uint8))
        assert annotation["segmentation"] == {"size": list(instances.shape), "counts": run["counts"].decode()}
        assert annotation["area"] == coco_mask.area(run) == (instances == number).sum()
        assert annotation["bbox"] == coco_mask.toBbox(run).tolist()
        np.testing.assert_array_equal(coco_mask.decode(run), instances == number)


def decoded(polygons: list[list[float]], shape: tuple[int, ...]) -> np.ndarray:
    height, width = shape
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)


@given(instance_maps(most=2))
def test_polygons_are_exact(instances: np.ndarray) -> None:
    mask = instances == 1
    if mask.any():
        np.testing.assert_array_equal(decoded(edge_polygons(mask), mask.shape), mask)


@pytest.mark.parametrize("name", extreme_maps())
def test_polygons_of_extreme_masks(name: str) -> None:
    mask = extreme_maps()[name] == 1
    assert bool(edge_polygons(mask)) == bool(mask.any())
    if mask.any():
        np.testing.assert_array_equal(decoded(edge_polygons(mask), mask.shape), mask)


def test_a_hole_is_cut_open_and_a_square_has_four_corners() -> None:
    square = np.pad(np.ones((3, 4), bool), 1)
    assert edge_polygons(square) == [[1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]]
    assert len(edge_polygons(extreme_maps()["hole"] == 1)) == 2


def panoptic_pairs(folder: Path, name: str, categories: dict[int, int]) -> torch.Tensor:
    """(height, width, 2) of category and instance, as torchmetrics wants it, from the files alone."""
    annotation = next(
        found
        for found in json.loads((folder / "annotations/panoptic_train2017.json").read_text())["annotations"]
        if found["file_name"] == name
    )
    colours = np.asarray(Image.open(folder / "annotations/panoptic_train2017" / name)).astype(np.int64)
    ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    pairs = np.stack([np.zeros_like(ids), ids], axis=-1)
    for segment in annotation["segments_info"]:
        pairs[ids == segment["id"], 0] = segment["category_id"]
        assert (ids == segment["id"]).sum() == segment["area"]
    return torch.from_numpy(pairs)


def test_panoptic_quality_against_the_source(tmp_path: Path) -> None:
    rows = [drawn(number) for number in range(3)]
    export(dataset(rows), tmp_path, format="coco-panoptic", stuff=["boat"])
    quality = PanopticQuality(things={3, 64}, stuffs={9, 0})
    for row in rows:
        sample = sample_of(row)
        official = np.array([0, 3, 64, 9])
        label = np.where(sample.label == 255, 0, sample.label)
        truth = np.stack([official[label], sample.places()], axis=-1)
        read_back = panoptic_pairs(tmp_path, f"{sample.sample_id}.png", {})
        quality.update(read_back[None], torch.from_numpy(truth)[None])
    assert float(quality.compute()) == 1.0


@given(instance_maps())
def test_panoptic_segments_cover_the_mask(instances: np.ndarray) -> None:
    sample = sample_of(row_of_instances(instances))
    segments, infos = panoptic_segments(sample, KNOWN, stuff={2})
    np.testing.assert_array_equal(segments > 0, (sample.label > 0) & (sample.label != 255))
    for info in infos:
        mask = segments == info["id"]
        assert info["area"] == mask.sum() > 0
        run = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert info["bbox"] == coco_mask.toBbox(run).tolist()
    assert sum(info["area"] for info in infos) == (segments > 0).sum()
    assert sum(info["category_id"] == 64 for info in infos) <= 1


def test_pixels_of_a_thing_that_no_object_holds_are_a_crowd() -> None:
    row = drawn(0)
    label = np.zeros((40, 56), np.uint8)
    label[0:4, 0:5] = 1
    label[24:30, 5:40] = 3
    bare = {**row, "label": png_cell(label)}
    _, infos = panoptic_segments(sample_of(bare), KNOWN, stuff=set())
    assert [(info["iscrowd"], info["category_id"], info["area"]) for info in infos if info["iscrowd"]] == [(1, 3, 20)]


def test_three_hundred_objects(tmp_path: Path) -> None:
    instances = np.zeros((40, 60), np.int64)
    instances[::2, ::4] = 1 + np.arange(300).reshape(20, 15)
    instances[instances == 255] = 301
    source = dataset([row_of_instances(instances)])
    export(source, tmp_path, format="coco", parts=["instances", "panoptic"])
    assert len(read(tmp_path / "annotations/instances_train2017.json").dataset["annotations"]) == 300
    assert np.asarray(Image.open(tmp_path / "annotations/panoptic_train2017/made-0.png"))[..., 1].max() == 1
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_stuff_maps(tmp_path: Path) -> None:
    source = dataset([drawn(0)])
    export(source, tmp_path, format="coco-stuff", stuff=["boat"])
    found = read(tmp_path / "annotations/stuff_train2017.json")
    assert [(category["id"], category["name"]) for category in found.dataset["categories"]] == [(9, "boat")]
    values = np.asarray(Image.open(tmp_path / "annotations/stuff_train2017_pixelmaps/made-0000.png"))
    assert np.unique(values).tolist() == [0, 9, 255]
    assert (values == 9).sum() == found.dataset["annotations"][0]["area"] == 210
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_no_clock_and_no_licence(tmp_path: Path) -> None:
    export(dataset([drawn(0)]), tmp_path, format="coco")
    found = json.loads((tmp_path / "annotations/instances_train2017.json").read_text())
    assert found["licenses"] == []
    assert found["info"] == {"description": "diffumask-datasets", "version": "1.0"}


def test_two_names_of_one_official_class_keep_an_id_each(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["TV", "tv", "boat"])
    export(source, tmp_path / "auto", format="coco")
    written = json.loads((tmp_path / "auto/annotations/instances_train2017.json").read_text())
    assert [(category["id"], category["name"]) for category in written["categories"]] == [
        (1, "TV"),
        (2, "tv"),
        (3, "boat"),
    ]
    assert sorted(annotation["category_id"] for annotation in written["annotations"]) == [1, 2, 3]
    with pytest.raises(ExportError, match="'TV' and 'tv' are one class of COCO; rename one, or use ids=own"):
        export(source, tmp_path / "out", format="coco", ids="official")


def test_verify_notices_a_category_id_that_occurs_twice(tmp_path: Path) -> None:
    export(dataset([drawn(0)]), tmp_path, format="coco", ids="own")
    path = tmp_path / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace('{"id":2,"name":"potted plant"', '{"id":1,"name":"potted plant"'))
    checks = {check.name: check for check in verify(tmp_path)}
    assert checks["categories of instances train"].detail == "category ids [1] occur twice"
    assert not checks["categories of instances train"].passed


def test_images_as_jpeg(tmp_path: Path) -> None:
    source = dataset([drawn(0)])
    export(source, tmp_path / "out", format="coco-panoptic", images="jpeg")
    written = json.loads((tmp_path / "out/annotations/panoptic_train2017.json").read_text())
    assert written["images"][0]["file_name"] == "made-0000.jpg"
    picture = Image.open(tmp_path / "out/train2017/made-0000.jpg")
    assert (picture.format, picture.size, [layer[1:3] for layer in picture.layer]) == ("JPEG", (56, 40), [(1, 1)] * 3)
    assert all(check.passed for check in verify(tmp_path / "out", source=source))
    with pytest.raises(ExportError, match="images: expected one of source, jpeg, got 'png'"):
        export(source, tmp_path / "png", format="coco", images="png")
