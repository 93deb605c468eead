"""YOLO, ADE20K, image folder and WebDataset, read back by the programs that read them."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import supervision
import webdataset
import yaml
from PIL import Image

from diffumask_datasets import export, verify
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import ExportError
from tests.helpers.made_datasets import CLASSES, dataset, drawn, extreme_maps, row_of_instances, tree


@pytest.fixture
def source() -> dict[str, Any]:
    return {"train": dataset([drawn(number) for number in range(5)]), "validation": dataset([drawn(9)])}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_yolo_by_supervision(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="yolo")
    read = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "images/train"),
        annotations_directory_path=str(tmp_path / "labels/train"),
        data_yaml_path=str(tmp_path / "data.yaml"),
        force_masks=True,
    )
    assert read.classes == list(CLASSES)
    seen = 0
    for path, _, found in read:
        instances = np.zeros((40, 56), int)
        row = drawn(int(Path(path).stem[-4:]))
        assert found.class_id.tolist() == [category - 1 for category in row["objects"]["category"]]
        for mask, run in zip(found.mask, row["objects"]["segmentation"], strict=True):
            from diffumask_datasets.masks.rle import decode

            # One part each: nothing is lost, the hole neither.
            np.testing.assert_array_equal(mask, decode(run, mask.shape))
            seen += 1
        assert instances.shape == found.mask.shape[1:]
    assert seen == 15


def test_yolo_files(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="yolo")
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "nc": 3,
        "names": {0: "car", 1: "potted plant", 2: "boat"},
    }
    bar = (tmp_path / "labels/val/made-0009.txt").read_text().splitlines()[1].split()
    assert bar[0] == "2"
    corners = {
        (round(float(x) * 56 - 0.25), round(float(y) * 40 - 0.25)) for x, y in zip(bar[1::2], bar[2::2], strict=True)
    }
    assert corners == {(5, 24), (39, 24), (39, 29), (5, 29)}


@pytest.mark.parametrize("name", sorted(set(extreme_maps()) - {"comb", "checkerboard"}))
def test_yolo_of_extreme_masks(name: str, tmp_path: Path) -> None:
    source = dataset([row_of_instances(extreme_maps()[name])])
    export(source, tmp_path, format="yolo")
    assert all(check.passed for check in verify(tmp_path, source=source))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["train"], {"train": "images/train", "val": "images/train"}),
        (["validation"], {"train": "images/val", "val": "images/val"}),
        (["train", "test"], {"train": "images/train", "val": "images/train", "test": "images/test"}),
        (["train", "validation"], {"train": "images/train", "val": "images/val"}),
    ],
)
def test_yolo_names_a_folder_for_train_and_val(splits: list[str], expected: dict[str, str], tmp_path: Path) -> None:
    rows = {split: dataset([drawn(place)], split=split) for place, split in enumerate(splits)}
    export(rows, tmp_path, format="yolo")
    read = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert {name: read[name] for name in read if name not in ("nc", "names")} == expected


def test_yolo_says_what_parts_far_apart_lose(tmp_path: Path) -> None:
    comb = dataset([row_of_instances(extreme_maps()["comb"])])
    manifest = export(comb, tmp_path, format="yolo")
    # Object 1 is columns 0, 2 and 4 of 7 rows; bridges draw one pixel of columns 1 and 3 each: 21 of 23 pixels.
    assert manifest["losses"] == {"labels/train/made-0.txt": {"objects": 1, "lowest_iou": 21 / 23}}
    assert json.loads((tmp_path / "diffumask-export.json").read_text())["losses"] == manifest["losses"]
    checks = {check.name: check for check in verify(tmp_path, source=comb)}
    told = "1 object (IoU 0.91 at worst) with other pixels, as the format cannot help"
    assert checks["labels/train/made-0.txt"].detail == told
    assert all(check.passed for check in checks.values())
    assert checks["masks of several parts, as to IoU ≥ 0.99"].detail == "1 of 1 differ, as the format cannot help"
    assert checks["masks of one part, as to IoU ≥ 0.99"].detail == "0 of 1 differ"


def test_ade20k(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="ade20k")
    root = tmp_path / "ADEChallengeData2016"
    mask = Image.open(root / "annotations/validation/made-0009.png")
    assert mask.mode == "L"
    assert np.unique(np.asarray(mask)).tolist() == [0, 1, 2, 3, 255]
    assert Image.open(root / "images/training/made-0003.jpg").size == (56, 40)
    lines = (root / "objectInfo150.txt").read_text().splitlines()
    # The bar has 35 x 6 of 40 x 56 pixels in each of five and one images.
    assert lines[3] == "3\t0.0938\t5\t1\t0\tboat"
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_image_folder_by_datasets(source: Any, tmp_path: Path, cache_dir: str) -> None:
    export(source, tmp_path / "set", format="imagefolder")
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "set"), cache_dir=cache_dir)
    assert {name: split.num_rows for name, split in read.items()} == {"train": 5, "validation": 1}
    for mine, theirs in zip(source["train"], read["train"], strict=True):
        np.testing.assert_array_equal(np.asarray(mine["image"]), np.asarray(theirs["image"]))
        assert theirs["label"].mode == "L"
        np.testing.assert_array_equal(np.asarray(mine["label"]), np.asarray(theirs["label"]))
        rest = set(mine) - {"image", "label"}
        assert {name: mine[name] for name in rest} == {name: theirs[name] for name in rest}
    assert json.loads((tmp_path / "set/id2label.json").read_text())["2"] == "potted plant"
    assert all(check.passed for check in verify(tmp_path / "set", source=source))


def test_webdataset_by_its_own_library(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="webdataset", samples_per_shard=2)
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == [
        "train-000000.tar",
        "train-000001.tar",
        "train-000002.tar",
        "validation-000000.tar",
    ]
    shards = [str(path) for path in sorted(tmp_path.glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"made-000{number}" for number in range(5)]
    for sample, row in zip(samples, source["train"], strict=True):
        np.testing.assert_array_equal(sample["png"], np.asarray(row["image"]))
        assert sample["json"]["objects"]["segmentation"] == row["objects"]["segmentation"]
        assert sample["json"]["prompt"] == row["prompt"]
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_webdataset_by_datasets(source: Any, tmp_path: Path, cache_dir: str) -> None:
    export(source, tmp_path, format="webdataset")
    read = datasets.load_dataset(
        "webdataset", data_files={"train": str(tmp_path / "train-*.tar")}, split="train", cache_dir=cache_dir
    )
    np.testing.assert_array_equal(np.asarray(read[4]["label.png"]), np.asarray(source["train"][4]["label"]))


def test_a_shard_that_a_crash_tore_is_mended(tmp_path: Path) -> None:
    rows = [drawn(number) for number in range(5)]
    export(dataset(rows), tmp_path / "whole", format="webdataset", samples_per_shard=2)
    broken = dataset([*rows[:3], {**rows[3], "sample_id": "a.b"}, rows[4]])
    with pytest.raises(ExportError, match=r"sample_id 'a.b': a key ends at its first '.'"):
        export(broken.to_iterable_dataset(), tmp_path / "set", format="webdataset", samples_per_shard=2)
    with (tmp_path / "set" / "train-000001.tar").open("ab") as shard:
        shard.write(b"half a sample")
    export(dataset(rows).to_iterable_dataset(), tmp_path / "set", format="webdataset", samples_per_shard=2)

    def tars(name: str) -> dict[str, bytes]:
        return {path: data for path, data in tree(tmp_path / name).items() if path.endswith(".tar")}

    assert tars("set") == tars("whole")


def test_a_shard_of_no_size(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="samples_per_shard: expected a number from 1 up, got 0"):
        export(dataset([drawn(0)]), tmp_path / "out", format="webdataset", samples_per_shard=0)


@pytest.mark.parametrize("name", ["yolo", "ade20k", "imagefolder", "webdataset"])
def test_names_that_are_not_ascii(name: str, tmp_path: Path) -> None:
    source = dataset([{**drawn(0), "sample_id": "straße-1"}], classes=["автомобиль", 'a "quoted" b/c', "船"])
    export(source, tmp_path, format=name)
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_losses_are_told_the_worst_first_and_cut_short(tmp_path: Path) -> None:
    combs = []
    for number in range(25):
        instances = np.zeros((9, 60), np.int64)
        instances[1:7, 2] = instances[1:7, 5 + number] = 1
        combs.append(row_of_instances(instances, sample_id=f"comb-{number:02d}"))
    export(dataset(combs), tmp_path, format="yolo")
    told = [check for check in verify(tmp_path) if "labels/" in check.name or check.name == "losses"]
    # The bridge between two bars of 6 pixels has 2 + number of them.
    assert told[0].name == "labels/train/comb-24.txt"
    assert told[0].detail.startswith("1 object (IoU 0.31 at worst)")  # 12 of 12 + 26
    assert [check.name for check in told[1:3]] == ["labels/train/comb-23.txt", "labels/train/comb-22.txt"]
    assert (len(told), told[20].detail) == (21, "5 more files, all listed in diffumask-export.json")
    assert all(check.passed for check in told)


@pytest.mark.parametrize("name", ["imagefolder", "webdataset"])
def test_a_column_that_json_cannot_hold_is_one_line(name: str, tmp_path: Path) -> None:
    odd = dataset([drawn(0)]).add_column("note", [b"bytes"])
    with pytest.raises(ExportError, match="a column cannot be written as JSON: Object of type bytes"):
        export(odd, tmp_path / name, format=name)


def test_yolo_semantic_keeps_our_values_and_names_the_background(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="yolo-semantic")
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "masks_dir": "masks",
        "nc": 4,
        "names": {0: "background", 1: "car", 2: "potted plant", 3: "boat"},
    }
    mask = Image.open(tmp_path / "masks/val/made-0009.png")
    assert (mask.mode, mask.size) == ("L", (56, 40))
    np.testing.assert_array_equal(np.asarray(mask), decode_label(drawn(9)["label"]))
    assert np.asarray(mask)[31, 6] == 255
    assert sorted(path.name for path in (tmp_path / "images/train").iterdir()) == [
        f"made-{n:04d}.png" for n in range(5)
    ]
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_verify_sees_a_changed_mask_of_yolo_semantic(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="yolo-semantic")
    path = tmp_path / "masks/val/made-0009.png"
    values = np.array(Image.open(path))
    values[:2, :3] = 1
    Image.fromarray(values).save(path)
    checks = {check.name: check for check in verify(tmp_path, source=source)}
    assert checks["mask pixels"].detail == "6 of 13440 differ"
    assert not checks["mask pixels"].passed


def test_labelme_files(tmp_path: Path) -> None:
    two_parts = np.zeros((9, 31), dtype=np.int64)
    two_parts[1:4, 2:5] = two_parts[6:8, 20:30] = 1
    two_parts[5, 5] = 2
    export(dataset([row_of_instances(two_parts)]), tmp_path, format="labelme")
    assert (tmp_path / "labels.txt").read_text() == "car\npotted plant\nboat\n"
    document = json.loads((tmp_path / "train/made-0.json").read_text())
    shapes = document.pop("shapes")
    assert document == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "made-0.png",
        "imageData": None,
        "imageHeight": 9,
        "imageWidth": 31,
    }
    assert (tmp_path / "train/made-0.png").is_file()
    assert [(shape["label"], shape["group_id"], shape["shape_type"]) for shape in shapes] == [
        ("potted plant", 1, "polygon"),
        ("potted plant", 1, "polygon"),
        ("boat", None, "polygon"),
    ]
    assert sorted(map(tuple, shapes[0]["points"])) == [(2, 1), (2, 3), (4, 1), (4, 3)]
    assert shapes[2]["points"] == [[5, 5]] * 3


@pytest.mark.parametrize("name", sorted(extreme_maps()))
def test_labelme_keeps_extreme_masks(name: str, tmp_path: Path) -> None:
    source = dataset([row_of_instances(extreme_maps()[name])])
    export(source, tmp_path, format="labelme")
    assert [check.name for check in verify(tmp_path, source=source) if not check.passed] == []


def test_verify_sees_a_moved_corner_and_a_lost_polygon_of_labelme(source: Any, tmp_path: Path) -> None:
    export(source, tmp_path, format="labelme")
    path = tmp_path / "validation/made-0009.json"
    document = json.loads(path.read_text())
    # The bar ends one column earlier; the object of one pixel is gone.
    document["shapes"][1]["points"] = [[min(x, 38), y] for x, y in document["shapes"][1]["points"]]
    del document["shapes"][2]
    path.write_text(json.dumps(document))
    checks = {check.name: check for check in verify(tmp_path, source=source)}
    assert checks["object pixels"].detail == "7 of 40320 differ"
    assert checks["polygon counts"].detail == "1 of 6 differ"
    assert checks["classes"].detail == "1 of 18 differ"
