import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.schema import Row, image_of, label_of, png_cell
from diffumask_datasets.review.page import write_page
from diffumask_datasets.review.pictures import pictures_of
from tests.helpers.made_datasets import dataset, drawn, made_row


def picture(uri: str) -> Any:
    """RGBA (height, width, 4) of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def with_heat_maps() -> dict[str, Any]:
    """Classes 1 and 3, whose heat maps say something else than the refined mask."""
    label = np.array([[1, 1, 0, 0], [1, 0, 3, 3]], np.uint8)
    row = made_row(label, [(1, label == 1), (3, label == 3)])
    warm = np.array([[255, 0, 128, 0], [0, 0, 0, 127]], np.uint8)
    hot = np.array([[0, 0, 0, 0], [0, 64, 255, 255]], np.uint8)
    return {**row, "heat_maps": {"category": [1, 3], "map": [png_cell(warm), png_cell(hot)]}}


def test_the_page_says_how_dense_the_scenes_are(tmp_path: Path) -> None:
    page = write_page(dataset([drawn(0), drawn(1)]), tmp_path / "page.html").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    assert data["density"].startswith("3.0 objects and 3.0 classes an image; 67 % of the objects touch another one")
    assert [(sample["objects"], sample["touching"]) for sample in data["samples"]] == [(3, 2), (3, 2)]
    assert '<span id="density"></span>' in page


def test_pictures_come_after_all_that_is_known_of_the_samples(tmp_path: Path) -> None:
    text = write_page(dataset([drawn(0), drawn(1)]), tmp_path / "page.html").read_text(encoding="utf-8")
    before, _, after = text.partition('<script type="application/json" id="p0">')
    assert "data:image/" not in before
    assert "made-0001" in before
    pictures = re.findall(r'(?:id="p0"|id="p1")>(\[.*?\])</script>', text)
    assert [len(json.loads(one)) for one in pictures] == [2, 2]  # no heat maps: no raw masks either
    assert after.index("arrived(2)") > after.index('id="p1"')
    assert json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])["heat_maps"] is False


def shown(row: Row) -> list[str]:
    return pictures_of(row, image_of(row), label_of(row), normalization=None)


def test_the_raw_mask_is_what_the_heat_maps_say() -> None:
    _, mask, _, raw = map(picture, shown(with_heat_maps()))
    colours = class_colours()
    np.testing.assert_array_equal(mask[..., 3] == 255, [[True, True, False, False], [True, False, True, True]])
    np.testing.assert_array_equal(raw[..., 3] == 255, [[True, False, True, False], [False, False, True, True]])
    np.testing.assert_array_equal(raw[0, 0, :3], colours[1])
    np.testing.assert_array_equal(raw[1, 2, :3], colours[3])


def test_the_heat_map_is_as_opaque_as_it_is_hot_in_the_colour_of_the_hottest_class() -> None:
    heat = picture(shown(with_heat_maps())[2])
    expected = np.array([[255, 0, 128, 0], [0, 64, 255, 255]])
    assert np.abs(heat[..., 3].astype(int) - expected).max() <= 8  # 32 levels
    np.testing.assert_array_equal(heat[0, 0, :3], class_colours()[1])
    np.testing.assert_array_equal(heat[1, 3, :3], class_colours()[3])
