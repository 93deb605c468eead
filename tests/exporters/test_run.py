"""What holds for every format: sources, order, workers, resume, refusal."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from diffumask_datasets import export, generate, verify
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ExportError
from diffumask_datasets.masks import rle
from tests.helpers.made_datasets import CLASSES, dataset, drawn, made_row, tree

ROOT = Path(__file__).parent.parent.parent


def passed(folder: Path, **how: Any) -> bool:
    checks = list(verify(folder, **how))
    assert checks
    return all(check.passed for check in checks)


def test_a_folder_made_by_generate_with_all_its_splits(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", splits={"validation": 2, "train": 3}, keep_heat_maps=True, **planted)
    manifest = export(tmp_path / "ds", tmp_path / "coco", format="coco")
    assert manifest["samples"] == {"train": 3, "validation": 2}
    assert sorted(path.name for path in (tmp_path / "coco").iterdir()) == [
        "annotations",
        "diffumask-export.json",
        "train2017",
        "val2017",
    ]
    assert passed(tmp_path / "coco", source=tmp_path / "ds", format="coco")
    told = {check.name: check.detail for check in verify(tmp_path / "coco", source=tmp_path / "ds")}
    assert told["density"].startswith("1.0 objects and 1.0 classes an image; 0 % of the objects touch")


def test_every_kind_of_source_gives_the_same_files(planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    generate(tmp_path / "ds", num_samples=3, **planted)
    mapped = datasets.load_dataset(str(tmp_path / "ds"), split="train", cache_dir=cache_dir)
    stream = datasets.load_dataset("diffumask", streaming=True, split="train", cache_dir=cache_dir, **planted)
    sources = {
        "folder": tmp_path / "ds",
        "map": mapped,
        "splits": datasets.DatasetDict(train=mapped),
        "stream": stream.take(3),
    }
    found = []
    for name, source in sources.items():
        export(source, tmp_path / name, format="voc")
        found.append({path: data for path, data in tree(tmp_path / name).items() if path != "diffumask-export.json"})
        assert passed(tmp_path / name, source=tmp_path / "ds")
    assert found[0] == found[1] == found[2] == found[3]


def test_an_endless_stream_is_cut(planted: dict[str, Any], tmp_path: Path) -> None:
    stream = datasets.load_dataset("diffumask", streaming=True, split="train", **planted)
    assert export(stream, tmp_path / "coco", format="coco", num_samples=2)["samples"] == {"train": 2}


def test_a_stream_that_changed_is_noticed(tmp_path: Path) -> None:
    rows = [drawn(number) for number in range(4)]
    broken = [*rows[:2], {**rows[2], "sample_id": "a/b"}]
    with pytest.raises(ExportError, match="invalid sample_id 'a/b'"):
        export(dataset(broken).to_iterable_dataset(), tmp_path / "out", format="coco")
    changed = dataset([rows[0], rows[3], rows[2]]).to_iterable_dataset()
    with pytest.raises(ExportError, match=r"sample 2 of train is no longer made-0001"):
        export(changed, tmp_path / "out", format="coco")


def test_two_processes_do_not_write_one_folder(three: Any, tmp_path: Path) -> None:
    from diffumask_datasets.exporters.target import Target

    with (
        Target(tmp_path / "out", {"format": "coco"}),
        pytest.raises(ExportError, match="another process is exporting into"),
    ):
        export(three, tmp_path / "out", format="coco")


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_dataset(stream: bool, tmp_path: Path) -> None:
    one = dataset([drawn(0)])
    source = one.to_iterable_dataset().take(0) if stream else one.select([])
    with pytest.raises(ExportError, match="the dataset is empty"):
        export(source, tmp_path / "out", format="coco")
    assert not (tmp_path / "out").exists()


def test_a_split_may_be_empty(three: Any, tmp_path: Path) -> None:
    source = {"train": three, "validation": three.select([])}
    for name in ("coco", "voc"):
        assert export(source, tmp_path / name, format=name)["samples"] == {"train": 3, "validation": 0}
        assert passed(tmp_path / name, source=source)


def test_a_target_that_cannot_be_written(three: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", Path("/sys/out"), Path("/dev/null")):
        with pytest.raises(ExportError, match=f"cannot write {place}: "):
            export(three, place, format="coco")


def bad_label(value: int) -> dict[str, Any]:
    label = np.zeros((5, 7), np.uint8)
    label[2, 3] = value
    return {**made_row(label, []), "classes": [], "threshold": []}


def bad_object(**fields: Any) -> dict[str, Any]:
    row = drawn(0)
    return {**row, "objects": {**row["objects"], **fields}}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (bad_label(4), "sample made-0: class id 4 in the mask, but the dataset names 3 classes"),
        (bad_object(category=[1, 2, 0]), r"sample made-0000: object 3: class id 0 is not one of 1..3"),
        ({**drawn(0), "label": png_cell(np.zeros((40, 57), np.uint8))}, r"the image is 56x40 .* its mask is 57x40"),
        (
            {**drawn(0), "label": png_cell(np.zeros((40, 56, 3), np.uint8))},
            "sample made-0000: cannot read the mask: expected a mask with one",
        ),
        (
            {**drawn(0), "image": {"bytes": b"no picture", "path": None}},
            "sample made-0000: cannot read the image: its content",
        ),
        (
            {**drawn(0), "label": {"bytes": b"no picture", "path": None}},
            "sample made-0000: cannot read the mask: its content",
        ),
        ({**drawn(0), "sample_id": "../escape"}, "invalid sample_id '../escape': expected letters"),
        ({**drawn(0), "sample_id": "two words"}, "invalid sample_id 'two words': expected letters"),
        (
            bad_object(segmentation=[rle.encode(np.ones((3, 4), bool))] * 3),
            r"object 1: RLE: expected a mask of \[40, 56\] \[height, width\], got size \[3, 4\]",
        ),
        (
            made_row(np.zeros((3, 4), np.uint8), [(1, np.zeros((3, 4), bool))]),
            "sample made-0: object 1 has no pixels",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_that_cannot_be_exported_is_named(row: Any, message: str, workers: int, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(dataset([row]), tmp_path / "out", format="coco", workers=workers)
    assert not (tmp_path / "out" / "diffumask-export.json").exists()


def test_an_id_that_occurs_twice(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="sample_id 'made-0001' occurs twice"):
        export(dataset([drawn(0), drawn(1), drawn(1)]), tmp_path / "out", format="coco")


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    source = dataset([{**drawn(0), "sample_id": "straße-1"}], classes=["автомобиль", "Blumentöpfe", "船"])
    for name in ("coco", "voc"):
        export(source, tmp_path / name, format=name)
        assert passed(tmp_path / name, source=source)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"format": "coko"}, r"unknown format 'coko' \(did you mean 'coco'\?\); formats: ade20k, cityscapes, coco,"),
        ({"format": "coco", "idz": "own"}, r"unknown option 'idz' of the format coco \(did you mean 'ids'\?\)"),
        ({"format": "coco", "ids": "mine"}, "ids: expected one of auto, official, own, got 'mine'"),
        ({"format": "coco", "parts": ["boxes"]}, "parts: expected one of instances, panoptic, stuff, captions"),
        ({"format": "coco", "stuff": ["boot"]}, r"stuff: 'boot' is no class of the dataset \(did you mean 'boat'\?\)"),
        ({"format": "coco", "parts": 3}, "parts: expected a name or a list of names, got 3"),
        ({"format": "coco", "stuff": [["boat"]]}, r"stuff: expected a name or a list of names, got \[\['boat'\]\]"),
        ({"format": "coco", "polygons": "maybe"}, "polygons: expected one of True, False, got 'maybe'"),
        ({"format": "cityscapes", "labels": "own", "city": 3}, "city: expected letters and digits only, got 3"),
        ({"format": "voc", "ring": -1}, "ring: expected a number of pixels from 0 to 16, got -1"),
        ({"format": "voc", "year": "../2012"}, r"year: expected a number from 0 to 9999, got '../2012'"),
        ({"format": "coco", "year": None}, "year: expected a number from 0 to 9999, got None"),
        ({"format": "coco", "workers": 0}, "workers: expected a number from 1 up, got 0"),
        ({"format": "coco", "num_samples": 0}, "num_samples: expected a number from 1 up, got 0"),
    ],
)
def test_bad_options_leave_nothing(how: dict[str, Any], message: str, three: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(three, tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()


def test_what_is_no_source(three: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"expected a dataset folder, URL or Hub id, .* got int"):
        export(3, tmp_path / "out", format="coco")
    with pytest.raises(ExportError, match=r"is no dataset folder: expected data/\*.parquet"):
        export(tmp_path, tmp_path / "out", format="coco")
    with pytest.raises(ExportError, match="the dataset has no column label"):
        export(three.remove_columns("label"), tmp_path / "out", format="coco")
    with pytest.raises(ExportError, match=r"class 'two\\nlines' cannot stand in a text file"):
        export(dataset([drawn(0)], classes=["two\nlines", "b", "c"]), tmp_path / "out", format="coco")
    with pytest.raises(ExportError, match="split 'a/b' cannot be a folder name"):
        export({"a/b": three}, tmp_path / "out", format="coco")


def test_verify_finds_a_changed_pixel_and_a_changed_file(three: Any, tmp_path: Path) -> None:
    export(three, tmp_path / "voc", format="voc")
    other = [drawn(number) for number in range(3)]
    label = np.zeros((40, 56), np.uint8)
    label[24:30, 5:40] = 3
    other[1] = {**other[1], "label": png_cell(label)}
    failed = {check.name: check.detail for check in verify(tmp_path / "voc", source=dataset(other)) if not check.passed}
    assert failed["source"] == "not the one exported"
    assert failed["SegmentationClass pixels"].endswith(f"of {3 * 40 * 56} differ")
    (tmp_path / "voc/VOCdevkit/VOC2012/labelmap.txt").write_text("")
    assert [check.name for check in verify(tmp_path / "voc") if not check.passed] == ["files", "labelmap.txt"]
    (tmp_path / "voc/VOCdevkit/VOC2012/JPEGImages/made-0001.jpg").unlink()
    assert not passed(tmp_path / "voc", source=three)


def test_verify_of_what_is_no_export(three: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no diffumask-export.json"):
        list(verify(tmp_path))
    export(three, tmp_path / "coco", format="coco")
    with pytest.raises(ExportError, match="is an export of the format coco, not voc"):
        list(verify(tmp_path / "coco", format="voc"))
    (tmp_path / "coco" / "diffumask-export.json").write_text("{")
    with pytest.raises(ExportError, match=r"is not JSON: .*; remove the folder and export again"):
        list(verify(tmp_path / "coco"))


def test_classes_of_the_source_are_kept(three: Any, tmp_path: Path) -> None:
    assert export(three, tmp_path / "coco", format="coco")["export"]["classes"] == list(CLASSES)


def test_verify_refuses_an_export_of_another_version(three: Any, tmp_path: Path) -> None:
    export(three, tmp_path / "out", format="imagefolder")
    path = tmp_path / "out/diffumask-export.json"
    path.write_text(path.read_text().replace('"layout": 2', '"layout": 1'))
    with pytest.raises(
        ExportError, match=r"written by another version \(layout 1 of imagefolder, now 2\): export again"
    ):
        list(verify(tmp_path / "out"))
