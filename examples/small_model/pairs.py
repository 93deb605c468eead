"""Images with captions to train on: the drawn world, a folder, or a dataset. Nothing else of them enters a training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffumask_datasets.errors import DataError
from diffumask_datasets.toybox.scene import Demand, render_with_captions

__all__ = ["DrawnPairs", "Pair", "Pairs", "RowPairs", "add_data_options", "images_of", "open_pairs", "pairs_of"]

Pair = tuple[NDArray[np.uint8], tuple[str, ...]]
"""An RGB image (height, width, 3), and captions that all hold for it."""

CAPTION_COLUMNS = ("text", "caption", "captions", "prompt")
PHRASINGS = 6
"""Captions of a drawn scene."""

DRAWN = 16_000
"""Drawn scenes where no other number is asked for."""


class Pairs(Protocol):
    """A training set: pair ``index`` is the same each time."""

    @property
    def pixels(self) -> int:
        """The sides of all images."""

    def __len__(self) -> int:
        """Number of pairs."""

    def pair(self, index: int) -> Pair:
        """Pair ``index``."""


@dataclass(frozen=True)
class DrawnPairs:
    """Scenes of the toybox, the seed being the index; ``single_share`` of them hold one object only."""

    count: int = DRAWN
    pixels: int = 128
    single_share: float = 0.0

    def __len__(self) -> int:
        return self.count

    def pair(self, index: int) -> Pair:
        """The scene of seed ``index``."""
        single = int((index + 1) * self.single_share) > int(index * self.single_share)
        scene, captions = render_with_captions(
            index,
            size=(self.pixels, self.pixels),
            demand=Demand(count=1) if single else None,
            phrasings=PHRASINGS,
        )
        return scene.image, captions


class RowPairs:
    """Rows of a dataset, each image cropped to a square around its centre and resized.

    Raises:
        DataError: the dataset is empty, or lacks a column of images or of captions.
    """

    def __init__(self, rows: datasets.Dataset, *, pixels: int, caption_column: str | None = None) -> None:
        images = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
        captions = [
            name for name in ((caption_column,) if caption_column else CAPTION_COLUMNS) if name in rows.features
        ]
        if not images or not captions or not len(rows):
            raise DataError(
                f"no images with captions: {len(rows)} rows with the columns {', '.join(rows.features)}; expected images, "
                f"and captions in {caption_column or 'one of ' + ', '.join(CAPTION_COLUMNS)} (--caption-column)"
            )
        self._rows, self.pixels = rows, pixels
        self._image, self._caption = images[0], captions[0]

    def __len__(self) -> int:
        return len(self._rows)

    def pair(self, index: int) -> Pair:
        """The pair of row ``index``."""
        row = self._rows[index]
        image = ImageOps.fit(row[self._image].convert("RGB"), (self.pixels, self.pixels), Image.Resampling.LANCZOS)
        found = row[self._caption]
        return np.asarray(image), tuple([found] if isinstance(found, str) else found)


def open_pairs(
    data: str,
    *,
    count: int | None = None,
    pixels: int = 128,
    single_share: float = 0.0,
    caption_column: str | None = None,
) -> Pairs:
    """Opens what ``--data`` names.

    Args:
        data: ``toybox``; a folder of images, each beside its ``.txt`` with a caption a line; or whatever
            ``datasets.load_from_disk`` or ``datasets.load_dataset`` reads: an imagefolder, a dataset of this project, a
            Hub id.
        count: pairs to use, from the first on; None takes all of a dataset, and 16,000 drawn scenes.
        pixels: sides of the images.
        single_share: part of the drawn scenes that holds one object only.
        caption_column: column of captions, a string or a list of them; None takes the first of the usual names.

    Raises:
        DataError: no images with captions are found.
    """
    if data == "toybox":
        return DrawnPairs(DRAWN if count is None else count, pixels, single_share)
    rows = _rows(data)
    return RowPairs(
        rows.select(range(min(count or len(rows), len(rows)))), pixels=pixels, caption_column=caption_column
    )


def _rows(data: str) -> datasets.Dataset:
    folder = Path(data)
    if any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        found = datasets.load_from_disk(data)
    elif texts := [path for path in sorted(folder.glob("*.txt")) if _image_beside(path)]:
        content: dict[str, Any] = {
            "image": [str(_image_beside(path)) for path in texts],
            "captions": [path.read_text(encoding="utf-8").strip().splitlines() for path in texts],
        }
        found = datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())
    else:
        try:
            found = datasets.load_dataset(data)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(f"--data {data}: neither 'toybox' nor a dataset that can be read: {error}") from error
    return (
        found["train" if "train" in found else next(iter(found))] if isinstance(found, datasets.DatasetDict) else found
    )


def _image_beside(text: Path) -> Path | None:
    endings = (".png", ".jpg", ".jpeg", ".webp")
    return next((image for ending in endings if (image := text.with_suffix(ending)).is_file()), None)


def images_of(pairs: Pairs, indices: Sequence[int]) -> NDArray[np.uint8]:
    """The images of some pairs, (N, height, width, 3)."""
    return np.stack([pairs.pair(index)[0] for index in indices])


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """The options that name the training set, and the folder of the results."""
    parser.add_argument("--data", required=True, help="'toybox', a folder of images with captions, or a dataset")
    parser.add_argument("--count", type=int, help="images to use, from the first on")
    parser.add_argument("--pixels", type=int, default=128, help="sides of the images")
    parser.add_argument("--single-share", type=float, default=0.0, help="part of drawn scenes with one object only")
    parser.add_argument("--caption-column", help="column of a dataset that holds the captions")
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoint, log, samples and model")


def pairs_of(options: argparse.Namespace) -> Pairs:
    """The training set that the options name."""
    return open_pairs(
        options.data,
        count=options.count,
        pixels=options.pixels,
        single_share=options.single_share,
        caption_column=options.caption_column,
    )
