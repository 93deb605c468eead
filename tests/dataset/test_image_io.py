"""Every kind of image file gives the right pixels, or one line with its name."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from diffumask_datasets.dataset.image_io import open_image, read_image, read_label, upright_size
from diffumask_datasets.dataset.mask_decoding import ColourTable
from diffumask_datasets.errors import DataError

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6)
COLOURS = np.stack([RAMP * 10, 255 - RAMP, RAMP], axis=-1)


def encoded(picture: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **how)
    return buffer.getvalue()


def turned(orientation: int, kind: str = "PNG", pixels: np.ndarray = COLOURS) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(pixels), kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_turns_the_image(orientation: int, kind: str) -> None:
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(turned(orientation))))
    wanted = np.asarray(shown)
    assert np.array_equal(read_image(turned(orientation, kind)), wanted)
    assert upright_size(open_image(turned(orientation, kind))) == wanted.shape[:2]


def test_orientation_three_is_upside_down() -> None:
    assert np.array_equal(read_image(turned(3)), COLOURS[::-1, ::-1])
    assert np.array_equal(read_label(turned(3, pixels=RAMP)), RAMP[::-1, ::-1])
    assert np.array_equal(read_image(turned(6)), np.rot90(COLOURS, -1))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"]
)
def test_exif_data_that_cannot_be_read_count_as_none(exif: bytes) -> None:
    data = encoded(Image.fromarray(COLOURS), "JPEG", exif=exif, quality=100, subsampling=0)
    assert read_image(data).shape == (4, 6, 3)


def test_an_orientation_that_is_none_counts_as_none() -> None:
    assert np.array_equal(read_image(turned(9)), COLOURS)


def test_sixteen_bits_are_scaled() -> None:
    wide = (RAMP.astype(np.uint16) * 257)[None, :, ::-1][0] + np.uint16(257 * 200)
    assert np.array_equal(read_image(encoded(Image.fromarray(wide)))[..., 1], RAMP[:, ::-1] + 200)
    assert read_image(encoded(Image.fromarray(wide), "TIFF")).dtype == np.uint8
    assert np.array_equal(read_image(Image.fromarray(wide.astype(np.int32)))[..., 2], RAMP[:, ::-1] + 200)


def test_sixteen_bits_with_white_at_zero() -> None:
    wide = RAMP.astype(np.uint16) * 257
    data = encoded(Image.fromarray(wide), "TIFF", tiffinfo={262: 0})
    assert np.array_equal(read_image(data)[..., 0], 255 - RAMP)


def test_floats_from_zero_to_one() -> None:
    data = encoded(Image.fromarray(RAMP.astype(np.float32) / 255), "TIFF")
    assert np.array_equal(read_image(data)[..., 0], RAMP)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RAMP.astype(np.float32), "its floats go from 0 to 23; expected 0 to 1"),
        (np.full((2, 2), np.nan, np.float32), "its floats go from nan to nan"),
        (RAMP.astype(np.int32) + 70_000, "its values go from 70000 to 70023"),
        (RAMP.astype(np.uint16) * 100, "its 16-bit values reach 2300 of 65535 only"),
    ],
)
def test_values_of_an_unclear_range(pixels: np.ndarray, message: str, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a b.tiff")
    with pytest.raises(DataError, match=rf"cannot read .*a b\.tiff: {message}"):
        read_image(tmp_path / "a b.tiff")


def test_grey_palette_bilevel_and_cmyk() -> None:
    grey = Image.fromarray(RAMP)
    assert np.array_equal(read_image(grey), np.stack([RAMP] * 3, axis=-1))
    palette = Image.fromarray(RAMP % 2)
    palette = palette.convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    assert read_image(encoded(palette))[0, :2].tolist() == [[10, 20, 30], [200, 100, 50]]
    assert read_image(encoded(grey.point(lambda value: 255 * (value > 11)).convert("1")))[:, 0, 0].tolist() == [
        0,
        0,
        255,
        255,
    ]
    red = Image.new("CMYK", (2, 3), (0, 255, 255, 0))
    assert read_image(encoded(red, "JPEG", quality=100))[1, 1].tolist() == pytest.approx([255, 0, 0], abs=3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "P":
        picture = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
        picture.putpalette([0, 0, 0, 1, 1, 1])
        data = encoded(picture, transparency=1)
    else:
        data = encoded(half.convert(mode))
    assert read_image(data)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0"))
        + png_chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    body = b"Comment\0\0" + zlib.compress(b"a" * (1 << 21))
    whole = encoded(Image.fromarray(RAMP))
    return whole[:33] + png_chunk(b"zTXt", body) + whole[33:]


DAMAGED = {
    "truncated.jpg": (lambda: encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-700], "truncated"),
    "truncated.png": (lambda: encoded(Image.effect_noise((64, 64), 50))[:-700], "truncated|broken|unrecognized"),
    "head.png": (lambda: encoded(Image.fromarray(RAMP))[:20], "no image format|[Tt]runcated|broken"),
    "text.png": (lambda: b"no picture", "its content is no image format that is known here"),
    "empty.png": (lambda: b"", "the file is empty"),
    "bomb.png": (lambda: bomb(20_000), r"20000x20000 pixels|exceeds limit"),
    "large.png": (lambda: bomb(13_000), r"13000x13000 pixels are more than the 160,000,000"),
    "text_bomb.png": (text_bomb, "[Dd]ecompressed data too large|[Tt]oo large"),
    "frames.gif": (
        lambda: encoded(Image.new("L", (4, 4)), "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]),
        "it holds 2 frames",
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("read", [read_image, read_label])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_one_line_with_their_name(name: str, read: Any, tmp_path: Path) -> None:
    make, message = DAMAGED[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(DataError, match=rf"cannot read .*{name}: .*({message})") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.png: No such file or directory; replace the file"):
        read_image(tmp_path / "none.png")


def test_one_pixel_and_twelve_megapixels() -> None:
    assert read_image(encoded(Image.new("L", (1, 1), 7))).tolist() == [[[7, 7, 7]]]
    assert read_label(encoded(Image.new("L", (1, 1), 7))).tolist() == [[7]]
    assert read_image(encoded(Image.new("RGB", (4000, 3000)), "JPEG")).shape == (3000, 4000, 3)


def test_labels_are_exact() -> None:
    assert np.array_equal(read_label(encoded(Image.fromarray(RAMP))), RAMP)
    wide = RAMP.astype(np.uint16) + 200
    assert np.array_equal(read_label(encoded(Image.fromarray(wide))), wide)
    assert read_label(encoded(Image.fromarray(wide))).dtype == np.uint8
    assert read_label(encoded(Image.fromarray(RAMP > 11)))[:, 0].tolist() == [0, 0, 1, 1]
    palette = Image.fromarray(RAMP).convert("P")
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    assert np.array_equal(read_label(encoded(palette)), RAMP)
    opaque = np.stack([RAMP, np.full_like(RAMP, 255)], axis=-1)
    assert np.array_equal(read_label(encoded(Image.fromarray(opaque))), RAMP)


COLOUR_VALUES = {(0, 0, 0): 0, (128, 0, 0): 1, (0, 128, 0): 2, (224, 224, 192): 255}
TABLE = ColourTable(COLOUR_VALUES)
VALUES = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)


def coloured(values: np.ndarray) -> np.ndarray:
    by_value = {value: colour for colour, value in COLOUR_VALUES.items()}
    return np.array([[by_value[value] for value in row] for row in values.tolist()], np.uint8)


@pytest.mark.parametrize("indexed", [False, True])
def test_colours_are_read_by_their_table(indexed: bool) -> None:
    table = ColourTable(COLOUR_VALUES, indexed=indexed)
    rgb = Image.fromarray(coloured(VALUES))
    assert np.array_equal(read_label(encoded(rgb), colours=table), VALUES)
    assert np.array_equal(read_label(encoded(rgb.convert("RGBA")), colours=table), VALUES)
    reordered = rgb.quantize()  # indices by frequency, no class ids
    assert not np.array_equal(np.asarray(reordered), VALUES)
    assert np.array_equal(read_label(encoded(reordered), colours=table), VALUES)


def test_greys_are_values_or_colours() -> None:
    grey = Image.fromarray(np.array([[0, 255]], np.uint8))
    white = {(0, 0, 0): 0, (255, 255, 255): 7}
    assert read_label(encoded(grey), colours=ColourTable(white)).tolist() == [[0, 7]]
    assert read_label(encoded(grey.convert("1")), colours=ColourTable(white)).tolist() == [[0, 7]]
    assert read_label(encoded(grey), colours=ColourTable(white, indexed=True)).tolist() == [[0, 255]]
    other_palette = Image.fromarray(np.array([[0, 2]], np.uint8)).convert("P")
    assert read_label(encoded(other_palette), colours=ColourTable(white, indexed=True)).tolist() == [[0, 2]]
    with pytest.raises(DataError, match=r"the colour \(2, 2, 2\) of the mask is not in its colour table"):
        read_label(encoded(other_palette), colours=ColourTable(white))


@pytest.mark.parametrize(
    ("make", "colours", "message"),
    [
        (lambda: encoded(Image.fromarray(coloured(VALUES))), None, "got colours (mode RGB) and no colour table"),
        (
            lambda: encoded(Image.new("RGB", (2, 2), (1, 2, 3))),
            TABLE,
            "the colour (1, 2, 3) of the mask is not in its colour",
        ),
        (lambda: encoded(Image.fromarray(RAMP), "JPEG"), None, "JPEG changes the values of a mask"),
        (lambda: encoded(Image.fromarray(RAMP * 10), "GIF"), None, "GIF renumbers the values of a mask"),
        (lambda: encoded(Image.fromarray(RAMP.astype(np.uint16) + 256)), None, "mask values from 0 to 255, got 279"),
        (lambda: encoded(Image.fromarray(RAMP / np.float32(2)), "TIFF"), None, "one channel of class ids, got mode F"),
        (lambda: encoded(Image.new("LA", (2, 2), (3, 0))), None, "the mask has transparent pixels"),
    ],
)
def test_masks_that_are_not_exact_are_refused(make: Any, colours: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_label(make(), name="mask of 7", colours=colours)
    assert str(caught.value).startswith("cannot read mask of 7: ")
    assert message in str(caught.value)
