"""Opens images and label masks: the one place where encoded files become pixels.

Images come upright (EXIF orientation applied) as 8-bit RGB. Label masks keep their exact values. What cannot be read
exactly is refused with one line that names the file; nothing is clipped, guessed or padded.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from diffumask_datasets.dataset.mask_decoding import WIDE_MODES, ColourTable, Pixels, label_values
from diffumask_datasets.errors import DataError

__all__ = [
    "MAX_PIXELS",
    "ImageSource",
    "Pixels",
    "is_upright",
    "open_image",
    "read_image",
    "read_label",
    "shorter_side",
    "upright_size",
]

ImageSource = str | Path | bytes | Image.Image
"""A path, the bytes of an encoded file, or an image that Pillow opened."""

MAX_PIXELS = 160_000_000
"""Largest image that is decoded: half a gigabyte of RGB. Cameras stay below it, decompression bombs do not."""

_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 262, 0

_LOSSY = ("JPEG", "MPO")
_DARKEST = 4095
"""A 16-bit image that reaches no higher holds 12 bits or fewer: over the whole range it would be almost black."""

_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise at damaged files."""


def read_image(source: ImageSource, *, name: str | None = None) -> Pixels:
    """The image as RGB, uint8 (height, width, 3), turned upright as its EXIF orientation says.

    16-bit values are scaled from 0..65535 and floats from 0..1; transparent pixels are laid over white; CMYK and palettes
    become RGB. EXIF data that cannot be read count as none.

    Args:
        source: path, encoded bytes or a Pillow image.
        name: what errors call it; default: its path.

    Raises:
        DataError: a damaged, truncated or unknown file, several frames, more than :data:`MAX_PIXELS`, or values whose range
            is not clear.
    """
    picture = open_image(source, name=name)
    with _one_line(source, name):
        return _upright(_rgb(picture), _orientation(picture))


def read_label(source: ImageSource, *, name: str | None = None, colours: ColourTable | None = None) -> Pixels:
    """Reads the exact values of a label mask. Only the mask's own EXIF orientation turns it.

    Args:
        source: The file, its bytes or a picture. A palette image gives its indices and a 1-bit mask 0 and 1.
        name: What messages call it.
        colours: What colours mean, which an RGB mask needs.

    Returns:
        uint8 (height, width).

    Raises:
        DataError: As :func:`read_image`; a lossy JPEG, values above 255, floats, transparency, or colours that ``colours``
            does not list.
    """
    picture = open_image(source, name=name)
    with _one_line(source, name):
        if picture.format in _LOSSY:
            raise DataError("JPEG changes the values of a mask; save masks as PNG")
        return _upright(label_values(picture, colours), _orientation(picture))


def open_image(source: ImageSource, *, name: str | None = None) -> Image.Image:
    """The whole image, decoded but neither converted nor turned: for its format and mode.

    Raises:
        DataError: a damaged, truncated or unknown file, several frames, or more than :data:`MAX_PIXELS`.
    """
    with _one_line(source, name):
        picture = _opened(source)
        picture.load()
        return picture


def shorter_side(source: ImageSource, *, name: str | None = None) -> int:
    """Pixels of the shorter side, read from the head of the file alone.

    Raises:
        DataError: as :func:`open_image`, as far as the head tells.
    """
    with _one_line(source, name):
        return min(_opened(source).size)


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """(height, width) of :func:`read_image`'s result for an image from :func:`open_image`."""
    width, height = picture.size
    return (width, height) if _orientation(picture) >= 5 else (height, width)


def is_upright(picture: Image.Image) -> bool:
    """Whether an image from :func:`open_image` is stored as it is to be shown."""
    return _orientation(picture) == 1


def _opened(source: ImageSource) -> Image.Image:
    picture = source if isinstance(source, Image.Image) else _identified(source)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{width}x{height} pixels are more than the {MAX_PIXELS:,} that are read; make it smaller")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # of a camera, whose first frame is the photo
        raise DataError(f"it holds {frames} frames; save the one that counts by itself")
    return picture


def _identified(source: str | Path | bytes) -> Image.Image:
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not data:
        raise DataError("the file is empty")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise DataError("its content is no image format that is known here") from None


@contextmanager
def _one_line(source: ImageSource, name: str | None) -> Iterator[None]:
    shown = name if name is not None else str(source) if isinstance(source, str | Path) else "an image"
    try:
        yield
    except DataError as error:
        raise DataError(f"cannot read {shown}: {error}") from error.__cause__
    except _DECODING_ERRORS as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"cannot read {shown}: {problem}; replace the file or take it out") from error


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where there is none, or none that can be read."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODING_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """The pixels (height, width, …) after the turn or mirroring that an EXIF orientation asks for."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if across else 1])


def _rgb(picture: Image.Image) -> Pixels:
    if picture.mode in WIDE_MODES:
        return _grey(_eight_bits(picture))
    if picture.mode == "F":
        return _grey(_from_floats(np.asarray(picture)))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=-1)


def _eight_bits(picture: Image.Image) -> Pixels:
    values = np.asarray(picture).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(f"its values go from {low} to {high}; expected 0 to 65535: save it with 8 or 16 bits")
    if 0 < high <= _DARKEST:
        raise DataError(
            f"its 16-bit values reach {high} of 65535 only, which is black: stretch them to the whole range"
        )
    if _white_is_zero(picture):
        values = 65535 - values
    return ((values + 128) // 257).astype(np.uint8)


def _white_is_zero(picture: Image.Image) -> bool:
    # Pillow inverts such images of 8 bits, but not those of 16.
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    return tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO


def _from_floats(values: npt.NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where they are no numbers
        raise DataError(f"its floats go from {low:g} to {high:g}; expected 0 to 1: scale them, or save it with 8 bits")
    return np.round(values * 255).astype(np.uint8)
