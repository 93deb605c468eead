"""Trees as people have them: other endings, other suffixes, side files, colours, lists in other encodings."""

import codecs
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.errors import DataError, ShapeError
from diffumask_datasets.segmentation.evaluation import match_classes
from diffumask_datasets.segmentation.labelled import LabelledImages, labelled_rows, read_example, translated
from diffumask_datasets.segmentation.layouts import read_layout
from tests.segmentation.test_layouts import ade20k, cityscapes, folder, save, values, voc

MASK = np.zeros((20, 30), np.uint8)
MASK[2:9, 3:12] = 1
MASK[12:, 20:] = 2
MASK[0] = 255


def pictures(root: Path, *names: str) -> None:
    for name in names:
        save(np.zeros((*MASK.shape, 3)), root / name)


def pair(root: Path, image: str, mask: str) -> LabelledImages:
    """A folder of one image and one mask."""
    pictures(root / "images", image)
    save(MASK, root / "masks" / mask)
    (root / "id2label.json").write_text(json.dumps({"0": "background", "1": "car", "2": "boat"}))
    return read_layout("folder", root)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.jpg", "a.png"),
        ("a.JPEG", "a.tif"),
        ("a b.webp", "a b_mask.bmp"),
        ("a.png", "a-label.png"),
        ("0001.png", "0001_L.png"),
        ("a.jpg", "a.jpg.png"),
        ("a_mask.jpg", "a_mask.png"),
        ("a.b.jpg", "a.b_gt.TIFF"),
        ("sub/a.jpg", "sub/a_segmentation.png"),
    ],
)
def test_masks_of_other_endings_and_suffixes(tmp_path: Path, image: str, mask: str) -> None:
    data = pair(tmp_path, image, mask)
    assert data.rows["sample_id"][:] == [image.rpartition(".")[0]]
    (example,) = labelled_rows(data)
    assert np.array_equal(example.label, MASK)
    assert data.left_out == {}


def test_what_lies_beside_is_counted_and_named(tmp_path: Path) -> None:
    pair(tmp_path, "a.jpg", "a.png")
    pictures(tmp_path / "images", "b.jpg")
    for name in ("images/._a.jpg", "images/Thumbs.db", "masks/.DS_Store", "masks/._a.png", "masks/a.json"):
        (tmp_path / name).write_bytes(b"x")
    assert read_layout("folder", tmp_path).left_out == {
        "hidden or system file": ("._a.jpg", "Thumbs.db", ".DS_Store", "._a.png"),
        "image without a mask": ("b.jpg",),
        "no image by its ending": ("a.json",),
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("masks/a_mask.png", "are both masks of 'a'; keep one"),
        ("images/a.png", "are both 'a', which .*masks asks for; keep one"),
        ("masks/c.png", r"no .*images/c\.jpg, which .*masks asks for"),
    ],
)
def test_pairs_that_are_none(tmp_path: Path, more: str, message: str) -> None:
    pair(tmp_path, "a.jpg", "a.png")
    save(MASK, tmp_path / more)
    with pytest.raises(DataError, match=message):
        read_layout("folder", tmp_path)


@pytest.mark.parametrize("make", [voc, cityscapes, ade20k, folder])
def test_side_files_end_no_layout(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "root")
    before = values(read_layout(make.__name__, tmp_path / "root"))
    for path in [path for path in (tmp_path / "root").rglob("*.*") if path.suffix in (".png", ".jpg")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    data = read_layout(make.__name__, tmp_path / "root")
    assert values(data) == before
    assert set(data.left_out) == {"hidden or system file"}


def test_voc_with_png_images_and_a_list_of_another_system(tmp_path: Path) -> None:
    voc(tmp_path)
    for path in (tmp_path / "JPEGImages").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_bytes(codecs.BOM_UTF16_LE + "2007_000033\r\n./2007_000042\r\n".encode("utf-16-le"))
    assert values(read_layout("voc", tmp_path)) == [[0, 1, 255], [0, 20, 255]]
    with pytest.raises(DataError, match=r"no .*trainaug\.txt: the splits there are val"):
        read_layout("voc", tmp_path, split="trainaug")


def test_voc_names_with_blanks(tmp_path: Path) -> None:
    voc(tmp_path)
    for path in (tmp_path / "JPEGImages" / "2007_000033.jpg", tmp_path / "SegmentationClass" / "2007_000033.png"):
        path.rename(path.with_stem("a red car"))
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_bytes(codecs.BOM_UTF8 + b"a red car\n")
    data = read_layout("voc", tmp_path)
    assert (data.rows["sample_id"][:], values(data)) == (["a red car"], [[0, 1, 255]])


def test_the_masks_of_sbd(tmp_path: Path) -> None:
    """A list of paths, and masks that only the second folder has."""
    voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in ("2007_000033", "2008_7")]
    (lists / "train_aug.txt").write_text("\n".join(lines))
    pictures(tmp_path / "JPEGImages", "2008_7.jpg")
    for number, name in enumerate(("2007_000033", "2008_7"), start=5):
        save(
            np.full(MASK.shape if number == 6 else (40, 60), number), tmp_path / "SegmentationClassAug" / f"{name}.png"
        )
    data = read_layout("voc", tmp_path, split="train_aug")
    assert (data.rows["sample_id"][:], values(data)) == (["2007_000033", "2008_7"], [[5], [6]])
    assert values(read_layout("voc", tmp_path)) == [[0, 1, 255], [0, 20, 255]]


def test_voc_masks_in_colours(tmp_path: Path) -> None:
    voc(tmp_path)
    for path in (tmp_path / "SegmentationClass").iterdir():
        Image.open(path).convert("RGB").save(path)
    assert values(read_layout("voc", tmp_path)) == [[0, 1, 255], [0, 20, 255]]
    for path in (tmp_path / "SegmentationClass").iterdir():
        Image.open(path).quantize().save(path)  # colours counted by frequency: indices that are no class ids
    assert values(read_layout("voc", tmp_path)) == [[0, 1, 255], [0, 20, 255]]


def test_colours_of_a_label_map(tmp_path: Path) -> None:
    """As CVAT writes them: classes in the order of the file."""
    voc(tmp_path)
    table = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad sign:61,61,245::\ncar:250,50,83::\nvoid:9,9,9::\n"
    )
    (tmp_path / "labelmap.txt").write_text(table)
    colours = np.array([(0, 0, 0), (61, 61, 245), (250, 50, 83)], np.uint8)
    for number, path in enumerate(sorted((tmp_path / "SegmentationClass").iterdir()), start=1):
        mask = np.array(Image.open(path))
        rgb = colours[np.where((mask > 0) & (mask < 255), number, 0)]
        rgb[mask == 255] = (9, 9, 9)
        Image.fromarray(rgb).save(path)
    data = read_layout("voc", tmp_path)
    assert (data.classes, values(data)) == (("road sign", "car"), [[0, 1, 255], [0, 2, 255]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\nboat,0,128,0\ncar,128,0,0\nvoid,224,224,192\n"),
        ("label_colors.txt", "0 0 0\tbackground\n0 128 0\tboat\n128 0 0\tcar\n224 224 192\tvoid\n"),
        ("labelmap.txt", "background:0,0,0::\nboat:0,128,0::\ncar:128,0,0::\nvoid:224,224,192::\n"),
    ],
)
@pytest.mark.parametrize("with_ids", [False, True])
def test_a_folder_with_a_table_of_colours(tmp_path: Path, name: str, text: str, with_ids: bool) -> None:
    pair(tmp_path, "a.jpg", "a.png")
    Image.fromarray(class_colours()[MASK]).save(tmp_path / "masks" / "a.png")
    (tmp_path / name).write_bytes(codecs.BOM_UTF8 + text.encode())
    if not with_ids:
        (tmp_path / "id2label.json").unlink()
    data = read_layout("folder", tmp_path)
    table = match_classes(("background", "car", "boat"), data).truth
    assert np.array_equal(translated(read_example(data.rows[0], data.colours), table), MASK)


def test_white_is_a_class_where_it_is_named(tmp_path: Path) -> None:
    data = pair(tmp_path, "a.jpg", "a.png")
    save(np.where(MASK == 1, 255, 0), tmp_path / "masks" / "a.png")
    assert values(data) == [[0, 255]]
    assert match_classes(("background", "car", "boat"), data).truth[255] == 255
    (tmp_path / "id2label.json").write_text(json.dumps({"0": "background", "255": "car"}))
    named = match_classes(("background", "car"), read_layout("folder", tmp_path))
    assert (named.truth[255], named.values[1]) == (1, 255)


def test_an_image_that_its_camera_turned(tmp_path: Path) -> None:
    """The mask lies beside what one sees, so that it stands as the image does."""
    pair(tmp_path, "a.png", "a.png")
    seen = np.random.default_rng(0).integers(0, 256, (*MASK.shape, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(seen[::-1, ::-1]).save(tmp_path / "images" / "a.png", exif=exif)
    (example,) = labelled_rows(read_layout("folder", tmp_path))
    assert np.array_equal(example.image, seen)
    assert np.array_equal(example.label, MASK)
    exif[0x0112] = 6
    Image.fromarray(seen).save(tmp_path / "images" / "a.png", exif=exif)
    with pytest.raises(ShapeError, match="the camera turned the image, but not its mask: turn the mask, or remove"):
        list(labelled_rows(read_layout("folder", tmp_path)))
