"""Images of rows that are no plain 8-bit RGB: what stands in an export agrees with its mask."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.dataset.schema import decode_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.pictures import image_file, jpeg_file
from tests.helpers.made_datasets import drawn, sample_of


def stored(picture: Image.Image, kind: str = "PNG", **how: Any) -> dict[str, Any]:
    """Row 0, whose image is this one."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **how)
    return {**drawn(0), "image": {"bytes": buffer.getvalue(), "path": None}}


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_an_image_that_its_camera_turned_is_exported_upright(orientation: int, turns: int) -> None:
    shown = decode_image(drawn(0)["image"])
    exif = Image.Exif()
    exif[0x0112] = orientation
    sample = sample_of(stored(Image.fromarray(np.rot90(shown, -turns)), exif=exif.tobytes()))
    suffix, data = image_file(sample)
    written = Image.open(io.BytesIO(data))
    assert (suffix, dict(written.getexif())) == (".png", {})
    assert np.array_equal(np.asarray(written), shown)


def test_an_image_of_sixteen_bits_becomes_a_jpeg_that_is_not_white() -> None:
    wide = np.full((40, 56), 257 * 90, np.uint16)
    sample = sample_of(stored(Image.fromarray(wide)))
    assert image_file(sample) == (".png", sample.image)
    written = np.asarray(Image.open(io.BytesIO(jpeg_file(sample))))
    assert (written.shape, written.min(), written.max()) == ((40, 56, 3), 90, 90)


def test_a_truncated_image_is_not_exported() -> None:
    row = stored(Image.effect_noise((56, 40), 50), "JPEG")
    row["image"]["bytes"] = row["image"]["bytes"][:-500]
    with pytest.raises(ExportError, match=r"sample made-0000: cannot read the image: .*truncated"):
        sample_of(row)
