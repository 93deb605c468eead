"""Labelled images from anywhere, and what the values of their masks mean: training and evaluation both read these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.dataset.image_io import ImageSource, Pixels, is_upright, open_image, read_image, read_label
from diffumask_datasets.dataset.image_listing import LeftOut
from diffumask_datasets.dataset.mask_decoding import ColourTable
from diffumask_datasets.errors import DataError, ShapeError, UnknownClassError, short_repr, suggestion
from diffumask_datasets.recipes.text import word_key
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE

__all__ = [
    "COLUMNS",
    "Example",
    "LabelledImages",
    "Pixels",
    "labelled_rows",
    "plain_name",
    "read_example",
    "read_mask",
    "rows_of_paths",
    "translated",
    "translation",
    "undecoded",
]

COLUMNS = ("sample_id", "image", "label")
"""Columns of ``LabelledImages.rows``; image and label are cells of bytes or paths, not yet decoded."""

UNLISTED = -1
"""In a translation table: a mask value that nothing explains."""

Names = Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class LabelledImages:
    """Rows with :data:`COLUMNS`, map-style or streaming.

    ``names`` gives the names of each class value in the masks, the first of them the one that is shown; ``background`` is
    the value of pixels of no class, None where each pixel has one; ``ignored`` values count nowhere. ``colours`` gives the
    values of masks that are coloured; ``left_out`` are the files beside the rows.
    """

    rows: Any
    names: Names
    background: int | None = BACKGROUND
    ignored: frozenset[int] = frozenset({IGNORE})
    colours: ColourTable | None = None
    left_out: LeftOut = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The shown name of each class, in the order of the mask values."""
        return tuple(names[0] for _, names in sorted(self.names.items()))

    @property
    def streaming(self) -> bool:
        """Whether the rows come one after another, without a length."""
        return isinstance(self.rows, datasets.IterableDataset)


@dataclass(frozen=True, slots=True)
class Example:
    """``image`` uint8 (height, width, 3) and ``label`` uint8 (height, width), still in the values of its source."""

    sample_id: str
    image: Pixels
    label: Pixels


def read_example(row: Mapping[str, Any], colours: ColourTable | None = None) -> Example:
    """The pixels of a row: the image upright, the mask as it lies beside what one sees; ``colours`` as in the data.

    Raises:
        DataError: a file that cannot be read, or a mask that is not exact.
        ShapeError: image and mask of different sizes.
    """
    name = str(row["sample_id"])
    source, shown = _cell(row["image"], f"the image of {name}")
    image = read_image(source, name=shown)
    label = read_mask(row, colours)
    if label.shape != image.shape[:2]:
        raise ShapeError(
            f"{name}: the image is {_size(image)} pixels but its mask is {_size(label)}{_turned(source, label, image)}"
        )
    return Example(name, image, label)


def read_mask(row: Mapping[str, Any], colours: ColourTable | None = None) -> Pixels:
    """The mask of a row alone, uint8 (height, width).

    Raises:
        DataError: a file that cannot be read, or a mask that is not exact.
    """
    source, shown = _cell(row["label"], f"the mask of {row['sample_id']}")
    return read_label(source, name=shown, colours=colours)


def translation(
    data: LabelledImages, classes: Sequence[str], *, rename: Mapping[str, str], others: int | None, background: int
) -> npt.NDArray[np.int16]:
    """Translates mask values into class ids by name.

    Args:
        data: Names the mask values.
        classes: The first has the id 1, or 0 where there is no background.
        rename: Name in ``data`` → name in ``classes``.
        others: What classes become that are not in ``classes``; None to raise.
        background: The id of the background; 255 for none.

    Returns:
        (256,) class id of each mask value; values without a name become ``UNLISTED``.

    Raises:
        UnknownClassError: A class that maps to none of ``classes`` while ``others`` is None.
    """
    first = 0 if background == IGNORE else 1
    ids = {plain_name(name): number for number, name in enumerate(classes, start=first)}
    ids[plain_name(BACKGROUND_NAME)] = background
    renamed = {plain_name(old): plain_name(new) for old, new in rename.items()}
    shown = {plain_name(name) for name in data.classes}
    table = np.full(256, UNLISTED, dtype=np.int16)
    for value, names in data.names.items():
        # Of ADE20K's "screen door, screen" and "screen, silver screen" only the second is a screen.
        own = [name for name in map(plain_name, names) if name not in shown or name == plain_name(names[0])]
        known = [ids[name] for name in (renamed.get(name, name) for name in own) if name in ids]
        if known:
            table[value] = known[0]
        elif others is not None:
            table[value] = others
        else:
            raise UnknownClassError(
                f"the class {names[0]!r} is none of the model's{suggestion(names[0], classes)}: {', '.join(classes)}; "
                "rename it, or say that others become background or are ignored"
            )
    if data.background is not None:
        table[data.background] = background
    table[sorted(data.ignored)] = IGNORE
    return table


def translated(example: Example, table: npt.NDArray[np.int16]) -> Pixels:
    """The label in class ids.

    Raises:
        ShapeError: a mask value that the table does not list.
    """
    label = table[example.label]
    if label.min(initial=0) == UNLISTED:
        strange = sorted({int(value) for value in np.unique(example.label[label == UNLISTED])})
        raise ShapeError(f"{example.sample_id}: the mask has the values {strange}, which its dataset gives no name")
    return label.astype(np.uint8)


def plain_name(name: str) -> str:
    """A class name without case, spaces and hyphens: VOC's ``tvmonitor`` is the ``TV monitor`` of others."""
    return word_key(name).replace(" ", "")


def rows_of_paths(names: Sequence[str], images: Sequence[str], masks: Sequence[str]) -> Any:
    """Makes a map-style dataset of files that are opened when they are read.

    Args:
        names: The ids of the samples.
        images: The paths of their images.
        masks: The paths of their masks.

    Returns:
        The dataset.
    """
    rows = datasets.Dataset.from_dict({"sample_id": list(names), "image": list(images), "label": list(masks)})
    return undecoded(rows)


def undecoded(rows: Any) -> Any:
    """The rows with their image cells left as bytes or paths."""
    # Decoding here would cost twice in a mixture, and would hide which file is broken.
    for column in ("image", "label"):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows


def labelled_rows(data: LabelledImages) -> Iterator[Example]:
    """The examples in order."""
    return (read_example(row, data.colours) for row in data.rows)


def _cell(cell: Any, name: str) -> tuple[ImageSource, str]:
    """The encoded or decoded image of a cell, and what errors call it: its path, where it is a file."""
    if isinstance(cell, Image.Image):
        return cell, name
    if not isinstance(cell, Mapping):
        raise DataError(f"{name}: expected a picture as datasets.Image keeps it, got {short_repr(cell)}")
    return (cell["bytes"], name) if cell.get("bytes") is not None else (str(cell["path"]), str(cell["path"]))


def _turned(source: ImageSource, label: Pixels, image: Pixels) -> str:
    if label.shape != image.shape[1::-1] or is_upright(open_image(source)):
        return ""
    return "; the camera turned the image, but not its mask: turn the mask, or remove the orientation from the image's EXIF"


def _size(pixels: npt.NDArray[Any]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
