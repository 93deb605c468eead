"""The contact sheet of a dataset and of exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets import export
from diffumask_datasets.dataset.contact_sheet import CAPTION, GAP, TILE, overlay
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import image_of, label_of
from diffumask_datasets.dataset.writer import write_folder
from diffumask_datasets.errors import ExportError, ReviewError
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.review.showing import show
from tests.conftest import PLANTED
from tests.helpers.made_datasets import drawn

HEIGHT = round(40 * TILE / 56)
CARD = (2 * TILE, HEIGHT + CAPTION)
"""Width and height of an image and its mask, both 56x40, with the line under them."""


@pytest.fixture
def ds(tmp_path: Path) -> Path:
    rows = {"train": [drawn(0), drawn(5)], "validation": [drawn(3)]}
    write_folder(tmp_path / "ds", rows, recipe=Recipe.of(**PLANTED), sizes={"train": 2, "validation": 1})
    return tmp_path / "ds"


def pictures(path: Path, place: int) -> tuple[np.ndarray, np.ndarray]:
    """The image and the overlay of the card with that place in a sheet of two columns."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    left, top = GAP + place % 2 * (CARD[0] + GAP), GAP + place // 2 * (CARD[1] + GAP)
    card = sheet[top : top + HEIGHT, left : left + CARD[0]]
    return card[:, :TILE], card[:, TILE:]


def tile(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((TILE, HEIGHT), Image.Resampling.LANCZOS))


def test_a_dataset_is_shown(ds: Path, tmp_path: Path) -> None:
    assert show(ds, tmp_path / "sheet.png", columns=2) == 3
    assert Image.open(tmp_path / "sheet.png").size == (2 * CARD[0] + 3 * GAP, 2 * CARD[1] + 3 * GAP)
    for place, (_, row) in enumerate(open_dataset(ds).rows()):
        image, mask = pictures(tmp_path / "sheet.png", place)
        np.testing.assert_array_equal(image, tile(image_of(row)))
        np.testing.assert_array_equal(mask, tile(overlay(image_of(row), label_of(row))))


@pytest.mark.parametrize("format", ["ade20k", "coco", "imagefolder", "labelme", "voc", "yolo-semantic"])
def test_an_export_is_shown_as_its_files_have_it(format: str, ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "export", format=format)
    assert show(tmp_path / "export", tmp_path / "sheet.png", columns=2) == 3
    by_id = {row["sample_id"]: row for _, row in open_dataset(ds).rows()}
    order = sorted(by_id) if format == "voc" else list(by_id)
    for place, sample_id in enumerate(order):
        row = by_id[sample_id]
        image, mask = pictures(tmp_path / "sheet.png", place)
        label = label_of(row).copy()
        if format in ("coco", "labelme"):
            label[label == 255] = 0  # they have no place for unsure pixels
        if format in ("ade20k", "voc"):  # JPEG
            assert np.abs(image.astype(int) - tile(image_of(row))).mean() < 8
            assert np.abs(mask.astype(int) - tile(overlay(image_of(row), label))).mean() < 8
        else:
            np.testing.assert_array_equal(image, tile(image_of(row)))
            np.testing.assert_array_equal(mask, tile(overlay(image_of(row), label)))


def test_the_number_of_samples_is_limited(ds: Path, tmp_path: Path) -> None:
    assert show(ds, tmp_path / "sheet.png", num_samples=2) == 2
    assert Image.open(tmp_path / "sheet.png").size == (2 * CARD[0] + 3 * GAP, CARD[1] + 2 * GAP)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"output": "sheet.jpg"}, "sheet.jpg is no picture: give a file that ends in .png"),
        ({"num_samples": 0}, "num_samples: expected a number from 1 up, got 0"),
        ({"columns": -1}, "columns: expected a number from 1 up, got -1"),
        ({"source": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_shown_is_refused(how: dict[str, Any], message: str, ds: Path, tmp_path: Path) -> None:
    given = {"source": "ds", "output": "sheet.png", **how}
    places = {name: tmp_path / given.pop(name) for name in ("source", "output")}
    with pytest.raises(ExportError, match=message):
        show(places["source"], places["output"], **given)
    assert {path.name for path in tmp_path.iterdir()} == {"ds"}


def test_exports_that_are_not_read_or_damaged_are_refused(ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "yolo", format="yolo")
    with pytest.raises(
        ExportError, match=r"is an export of the format yolo, and ade20k, coco, .* show the dataset that"
    ):
        show(tmp_path / "yolo", tmp_path / "sheet.png")
    export(ds, tmp_path / "ade", format="yolo-semantic")
    Image.fromarray(np.full((40, 56), 4, np.uint8)).save(tmp_path / "ade/masks/val/made-0003.png")
    with pytest.raises(ReviewError, match=r"made-0003.png: the value 4 is none of the 3 classes"):
        show(tmp_path / "ade", tmp_path / "sheet.png")
    (tmp_path / "ade/images/train/made-0000.png").unlink()
    with pytest.raises(ReviewError, match="there is no image of made-0000; export again"):
        show(tmp_path / "ade", tmp_path / "sheet.png")
    (tmp_path / "ade/diffumask-export.json").write_text("[]")
    with pytest.raises(ExportError, match="names no classes: export again"):
        show(tmp_path / "ade", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
