from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from diffumask_datasets import export, verify
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters import Contents
from diffumask_datasets.exporters.pictures import palette_png
from diffumask_datasets.exporters.voc.constants import CLASSES, PALETTE
from diffumask_datasets.exporters.voc.convert import bndbox, segmentation_masks
from diffumask_datasets.exporters.voc.exporter import VocExporter
from diffumask_datasets.exporters.voc.reader import read_palette_mask
from tests.helpers.made_datasets import (
    dataset,
    drawn,
    extreme_maps,
    instance_maps,
    made_row,
    row_of_instances,
    sample_of,
)

OWN = VocExporter(ids="own")._classes(Contents(("a", "b", "c"), ("train",)))


def test_the_whole_tree(tmp_path: Path) -> None:
    source = {"train": dataset([drawn(0)]), "validation": dataset([drawn(1)])}
    export(source, tmp_path, format="voc")
    root = tmp_path / "VOCdevkit" / "VOC2012"
    assert sorted(path.name for path in root.iterdir()) == [
        "Annotations",
        "ImageSets",
        "JPEGImages",
        "SegmentationClass",
        "SegmentationObject",
        "labelmap.txt",
    ]
    sets = root / "ImageSets"
    assert (sets / "Segmentation/train.txt").read_text() == "made-0000\n"
    assert (sets / "Segmentation/val.txt").read_text() == "made-0001\n"
    assert (sets / "Segmentation/trainval.txt").read_text() == "made-0000\nmade-0001\n"
    assert (sets / "Main/car_train.txt").read_text() == "made-0000  1\n"
    assert (sets / "Main/pottedplant_trainval.txt").read_text() == "made-0000  1\nmade-0001  1\n"
    assert (root / "labelmap.txt").read_text().splitlines() == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "car:128,128,128::",
        "pottedplant:0,64,0::",
        "boat:0,0,128::",
        "ignored:224,224,192::",
    ]
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_a_class_that_is_not_there_is_negative(tmp_path: Path) -> None:
    only = np.zeros((6, 8), np.int64)
    only[2:4, 3:6] = 3
    export(dataset([row_of_instances(only)]), tmp_path, format="voc")
    main = tmp_path / "VOCdevkit/VOC2012/ImageSets/Main"
    assert [(main / f"{name}_train.txt").read_text() for name in ("car", "boat")] == ["made-0  1\n", "made-0 -1\n"]


def test_masks_have_the_official_colours_and_ids(tmp_path: Path) -> None:
    export(dataset([drawn(0)]), tmp_path, format="voc")
    root = tmp_path / "VOCdevkit" / "VOC2012"
    semantic = Image.open(root / "SegmentationClass/made-0000.png")
    assert semantic.mode == "P"
    assert np.unique(np.asarray(semantic)).tolist() == [0, 4, 7, 16, 255]
    # car is grey and boat dark blue in the colour map of the development kit; void is off-white.
    palette = np.asarray(semantic.getpalette()).reshape(-1, 3)
    assert palette[[7, 4, 255]].tolist() == [[128, 128, 128], [0, 0, 128], [224, 224, 192]]
    objects = np.asarray(Image.open(root / "SegmentationObject/made-0000.png"))
    assert np.unique(objects).tolist() == [0, 1, 2, 3, 255]


def test_the_annotation(tmp_path: Path) -> None:
    export(dataset([drawn(0)]), tmp_path, format="voc")
    root = ElementTree.parse(tmp_path / "VOCdevkit/VOC2012/Annotations/made-0000.xml").getroot()
    assert [root.findtext(name) for name in ("folder", "filename", "segmented", "size/width", "size/height")] == [
        "VOC2012",
        "made-0000.jpg",
        "1",
        "56",
        "40",
    ]
    bar = root.findall("object")[1]
    assert bar.findtext("name") == "boat"
    # Rows 24..29 and columns 5..39 from 0 are 25..30 and 6..40 from 1.
    assert [bar.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")] == ["6", "25", "40", "30"]
    assert bndbox((0.0, 0.0, 1.0, 1.0)) == (1, 1, 1, 1)


def test_images_are_jpeg_with_full_colour_resolution(tmp_path: Path) -> None:
    export(dataset([drawn(0)]), tmp_path, format="voc")
    picture = Image.open(tmp_path / "VOCdevkit/VOC2012/JPEGImages/made-0000.jpg")
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (56, 40), "RGB")
    assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3


def test_the_official_classes() -> None:
    assert len(CLASSES) == 20
    assert [CLASSES[name] for name in ("aeroplane", "diningtable", "person", "tvmonitor")] == [1, 11, 15, 20]
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE[15].tolist() == [192, 128, 128]


def decoded(values: np.ndarray, folder: Path) -> np.ndarray:
    (folder / "mask.png").write_bytes(palette_png(values, PALETTE))
    return read_palette_mask(folder / "mask.png")


@given(instance_maps())
def test_encode_then_decode_is_the_identity(tmp_path_factory: pytest.TempPathFactory, instances: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("voc")
    sample = sample_of(row_of_instances(instances))
    semantic, objects = segmentation_masks(sample, OWN)
    np.testing.assert_array_equal(decoded(semantic, folder), sample.label)
    places = decoded(objects, folder)
    for place, mask in enumerate(sample.masks, start=1):
        np.testing.assert_array_equal(places == place, mask)
    np.testing.assert_array_equal(places == 255, instances == 255)


@pytest.mark.parametrize("name", extreme_maps())
def test_extreme_masks(name: str, tmp_path: Path) -> None:
    source = dataset([row_of_instances(extreme_maps()[name])])
    export(source, tmp_path, format="voc")
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_a_ring_of_void_runs_along_both_sides_of_borders(tmp_path: Path) -> None:
    label = np.zeros((12, 12), np.uint8)
    label[4:10, 4:10] = 1
    sample = sample_of(made_row(label, [(1, label == 1)]))
    semantic, objects = segmentation_masks(sample, OWN, ring=1)
    assert (semantic[3, 4:10] == 255).all()
    assert (semantic[4, 4:10] == 255).all()
    assert (semantic[5:9, 5:9] == 1).all()
    assert (semantic[2] == 0).all()
    np.testing.assert_array_equal(semantic, objects)
    source = dataset([drawn(0)])
    export(source, tmp_path, format="voc", ring=2)
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_more_than_254_objects(tmp_path: Path) -> None:
    instances = np.zeros((40, 60), np.int64)
    instances[::2, ::4] = 1 + np.arange(300).reshape(20, 15)
    with pytest.raises(ExportError, match="sample made-0: 299 objects; SegmentationObject holds at most 254"):
        export(dataset([row_of_instances(instances)]), tmp_path / "out", format="voc")


def test_more_than_254_classes(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=[f"class {number}" for number in range(255)])
    with pytest.raises(ExportError, match="255 classes; a mask holds 1 to 254"):
        export(source, tmp_path / "out", format="voc")
    assert not (tmp_path / "out").exists()


def test_objects_that_overlap(tmp_path: Path) -> None:
    label = np.ones((4, 5), np.uint8)
    row = made_row(label, [(1, label > 0), (1, np.eye(4, 5, dtype=bool))])
    with pytest.raises(ExportError, match="sample made-0: objects 1 and 2 overlap"):
        export(dataset([row]), tmp_path / "out", format="voc")


def test_a_class_name_that_cannot_be_a_file(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["traffic sign/light", "b", "c"])
    with pytest.raises(ExportError, match=r"class 'traffic sign/light' would be the file ImageSets/Main/"):
        export(source, tmp_path / "out", format="voc")
    assert not (tmp_path / "out").exists()


def test_official_ids_can_be_demanded(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["car", "tree", "boat"])
    with pytest.raises(ExportError, match="'tree' is none of the 20 classes of VOC"):
        export(source, tmp_path / "out", format="voc", ids="official")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("#1", "class '#1': readers of labelmap.txt take '#' for a comment"),
        ("car ", "class 'car ': readers of labelmap.txt take '#' for a comment and drop blanks at the ends"),
        ("ignored", "class 'ignored': labelmap.txt calls pixels of no class so; rename the class"),
    ],
)
def test_a_class_name_that_the_label_map_cannot_hold(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(dataset([drawn(0)], classes=[name, "b", "c"]), tmp_path / "out", format="voc")


def test_two_names_of_one_official_class_keep_an_id_each(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["TV monitor", "tvmonitor", "boat"])
    export(source, tmp_path / "auto", format="voc")
    lines = (tmp_path / "auto/VOCdevkit/VOC2012/labelmap.txt").read_text().splitlines()
    assert lines[2:5] == ["TV monitor:128,0,0::", "tvmonitor:0,128,0::", "boat:128,128,0::"]
    assert all(check.passed for check in verify(tmp_path / "auto", source=source))
    with pytest.raises(
        ExportError, match="'TV monitor' and 'tvmonitor' are one class of VOC; rename one, or use ids=own"
    ):
        export(source, tmp_path / "out", format="voc", ids="official")


def test_verify_notices_a_label_map_that_was_changed(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["car", "tree", "boat"])
    export(source, tmp_path, format="voc")
    table = tmp_path / "VOCdevkit/VOC2012/labelmap.txt"
    table.write_text(table.read_text().replace("tree:", "car:"))
    checks = {check.name: check for check in verify(tmp_path)}
    assert not checks["labelmap.txt"].passed
