"""Published layouts: built here file by file as their authors describe them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.errors import DataError
from diffumask_datasets.segmentation.evaluation import match_classes
from diffumask_datasets.segmentation.labelled import LabelledImages, labelled_rows, read_example, translated
from diffumask_datasets.segmentation.layout_tables import CITYSCAPES_IDS
from diffumask_datasets.segmentation.layouts import read_layout


def save(pixels: np.ndarray, path: Path, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels.astype(np.uint8))
    if palette:
        picture = picture.convert("L")
        picture.putpalette(class_colours().ravel().tolist())
    picture.save(path)


def voc(root: Path) -> None:
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n2007_000042\n")
    for number, name in enumerate(("2007_000033", "2007_000042")):
        mask = np.zeros((40, 60))
        mask[5:20, 5:30] = (1, 20)[number]
        mask[4, 5:30] = 255
        save(np.zeros((40, 60, 3)), root / "JPEGImages" / f"{name}.jpg")
        save(mask, root / "SegmentationClass" / f"{name}.png", palette=True)


def cityscapes(root: Path) -> None:
    mask = np.full((32, 64), 23)  # sky
    mask[16:] = 7  # road
    mask[10:20, 10:20] = 26  # car
    mask[30:] = 1  # ego vehicle
    for city, frame in (("bonn", "000001"), ("ulm", "000002")):
        name = f"{city}_000000_{frame}"
        save(np.zeros((32, 64, 3)), root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png")
        save(mask, root / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png")


def ade20k(root: Path) -> None:
    lines = [
        "Idx\tRatio\tTrain\tVal\tName",
        "1\t0.15\t11664\t1172\twall",
        "2\t0.1\t1\t1\tcar, auto, automobile, machine",
    ]
    root.mkdir(parents=True)
    (root / "objectInfo150.txt").write_text("\n".join(lines))
    mask = np.zeros((20, 30))
    mask[:10] = 1
    mask[12:18, 3:9] = 2
    save(np.zeros((20, 30, 3)), root / "images" / "validation" / "ADE_val_00000001.jpg")
    save(mask, root / "annotations" / "validation" / "ADE_val_00000001.png")


def folder(root: Path) -> None:
    for number in range(2):
        save(np.zeros((20, 30, 3)), root / "images" / f"{number}.png")
        save(np.full((20, 30), number), root / "masks" / f"{number}.png")
    (root / "id2label.json").write_text(json.dumps({"0": "background", "1": "car"}))


def values(data: LabelledImages) -> list[list[int]]:
    return [np.unique(example.label).tolist() for example in labelled_rows(data)]


def test_voc(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2012")
    data = read_layout("voc", tmp_path / "VOC2012")
    assert data.rows["sample_id"][:] == ["2007_000033", "2007_000042"]
    assert values(data) == [[0, 1, 255], [0, 20, 255]]
    assert (data.classes[0], data.classes[19], data.background) == ("aeroplane", "tvmonitor", 0)
    assert read_example(data.rows[0]).image.shape == (40, 60, 3)


def test_cityscapes(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    data = read_layout("cityscapes", tmp_path)
    assert data.rows["sample_id"][:] == ["bonn_000000_000001", "ulm_000000_000002"]
    assert (values(data)[0], data.background) == ([1, 7, 23, 26], None)
    matching = match_classes(tuple(CITYSCAPES_IDS.values()), data)
    label = translated(read_example(data.rows[0]), matching.truth)
    assert np.unique(label).tolist() == [0, 10, 13, 255]  # road, sky and car as train ids
    assert matching.values[[0, 10, 13]].tolist() == [7, 23, 26]


def test_ade20k(tmp_path: Path) -> None:
    ade20k(tmp_path / "ADE")
    data = read_layout("ade20k", tmp_path / "ADE")
    assert data.names == {1: ("wall",), 2: ("car", "auto", "automobile", "machine", "car, auto, automobile, machine")}
    matching = match_classes(("background", "automobile"), data)
    label = translated(read_example(data.rows[0]), matching.truth)
    assert np.unique(label).tolist() == [0, 1, 255]
    assert label[5, 5] == 0  # a wall is background
    assert label[15, 5] == 1
    assert label[11, 0] == 255  # what no class covers
    assert matching.counted == (1,)


def test_a_word_of_several_classes_means_the_one_that_is_called_so() -> None:
    """As in ADE20K."""
    data = LabelledImages(None, {59: ("screen door", "screen"), 131: ("screen", "silver screen"), 60: ("stairway",)})
    matching = match_classes(("background", "screen"), data)
    assert matching.truth[[59, 131, 60]].tolist() == [0, 1, 0]
    assert match_classes(("background", "screen door"), data).truth[[59, 131]].tolist() == [1, 0]


def test_folder(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    data = read_layout("folder", tmp_path / "mine")
    assert (data.classes, data.background, values(data)) == (("car",), 0, [[0], [1]])


@pytest.mark.parametrize(
    ("layout", "missing", "message"),
    [
        ("voc", "ImageSets/Segmentation/val.txt", r"no .*val\.txt: the voc layout needs it"),
        ("voc", "SegmentationClass/2007_000042.png", r"no .*2007_000042\.png, which .*val\.txt asks for"),
        ("voc", "JPEGImages/2007_000033.jpg", r"no .*2007_000033\.jpg, which .*val\.txt asks for"),
        ("cityscapes", "leftImg8bit/val/ulm/ulm_000000_000002_leftImg8bit.png", r"no .*ulm_000000_000002_leftImg8bit"),
        ("ade20k", "objectInfo150.txt", r"no .*objectInfo150\.txt: the ade20k layout needs it"),
        ("ade20k", "annotations/validation/ADE_val_00000001.png", "lists no labelled image: the split is empty"),
        ("folder", "id2label.json", r"no .*id2label\.json: the folder layout needs it"),
        ("folder", "images/1.png", r"no .*1\.jpg, which .*masks asks for"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, layout: str, missing: str, message: str) -> None:
    {"voc": voc, "cityscapes": cityscapes, "ade20k": ade20k, "folder": folder}[layout](tmp_path / "root")
    (tmp_path / "root" / missing).unlink()
    with pytest.raises(DataError, match=message):
        read_layout(layout, tmp_path / "root")


def test_a_missing_root_or_split_and_a_root_one_level_up(tmp_path: Path) -> None:
    voc(tmp_path / "VOCdevkit" / "VOC2012")
    with pytest.raises(DataError, match="none is no folder: give the root of the voc dataset"):
        read_layout("voc", tmp_path / "none")
    with pytest.raises(DataError, match=r"give .*VOC2012 as the root"):
        read_layout("voc", tmp_path)
    with pytest.raises(DataError, match=r"no .*test\.txt"):
        read_layout("voc", tmp_path / "VOCdevkit" / "VOC2012", split="test")
    (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="the split is empty"):
        read_layout("voc", tmp_path / "VOCdevkit" / "VOC2012")
    folder(tmp_path / "mine" / "test")
    with pytest.raises(DataError, match=r"no .*mine/images, but the splits test: name one of them"):
        read_layout("folder", tmp_path / "mine")


def test_broken_files(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "images" / "0.png").write_text("no picture")
    save(np.zeros((20, 30, 3)), tmp_path / "masks" / "1.png")
    data = read_layout("folder", tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*images/0\.png: its content is no image format"):
        read_example(data.rows[0])
    with pytest.raises(DataError, match=r"cannot read .*masks/1\.png: expected a mask with one channel of class ids"):
        read_example(data.rows[1])
    (tmp_path / "id2label.json").write_text("[1]")
    with pytest.raises(DataError, match=r"id2label\.json: expected"):
        read_layout("folder", tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("car:1,2,300::\n", "expected lines such as .*, got 'car:1,2,300::'"),
        ("car:128,0,0::\nboat:128,0,0::\n", "'boat:128,0,0::' repeats a name or a colour"),
        ("car\n", "expected lines such as .*, got 'car'"),
        (":128,0,0::\n", "expected lines such as .*, got ':128,0,0::'"),
        ("# label:color_rgb:parts:actions\n", "holds no colours"),
    ],
)
def test_a_label_map_that_is_none(tmp_path: Path, text: str, complaint: str) -> None:
    voc(tmp_path)
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(DataError, match=rf"labelmap\.txt:? {complaint}"):
        read_layout("voc", tmp_path)


def test_a_cityscapes_table_that_is_none(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    (tmp_path / "labels.json").write_text('[{"name": "car"}]')
    with pytest.raises(DataError, match=r"labels\.json: expected rows with number, name and ignored: KeyError"):
        read_layout("cityscapes", tmp_path)
